"""Several things that go on for ever, as one."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*going: Coroutine[Any, Any, Any]) -> None:
    """Runs all until one fails or this is cancelled; then ends the others and returns only when each has ended.

    asyncio.gather ends with the first that is cancelled, while the others still need what its caller is about to close;
    a TaskGroup would wrap the error that ended it.
    """
    tasks = [asyncio.create_task(one) for one in going]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            if not task.cancelling():  # a second time would break off what it still closes
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
