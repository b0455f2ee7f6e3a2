"""Several things that go on for ever, as one."""

import asyncio
from collections.abc import Coroutine
from typing import Any

GRACE_SECONDS = 5.0
"""How long what is cancelled may take to close before it is cancelled again."""


async def together(*going: Coroutine[Any, Any, Any]) -> None:
    """Runs all until one fails or this is cancelled; then ends the others and returns only when each has ended.

    asyncio.gather ends with the first that is cancelled, while the others still need what its caller is about to close;
    a TaskGroup would wrap the error that ended it.
    """
    tasks = [asyncio.create_task(one) for one in going]
    try:
        await asyncio.gather(*tasks)
    finally:
        waiting: set[asyncio.Task[Any]] = {task for task in tasks if not task.done()}
        for task in waiting:
            if not task.cancelling():  # a second time would break off what it still closes
                task.cancel()
        # But libraries lose a cancellation at times: it comes again for what then goes on.
        while waiting and (waiting := (await asyncio.wait(waiting, timeout=GRACE_SECONDS))[1]):
            for task in waiting:
                task.cancel()
        for task in tasks:
            if not task.cancelled():
                task.exception()  # the first was raised; the others are known of, too
