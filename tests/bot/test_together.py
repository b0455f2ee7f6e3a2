"""What goes on together ends together, each in its own time."""

import asyncio

import pytest

from bot.together import together


class Work:
    """Goes on until cancelled, then takes a while to close; a second cancellation breaks that off."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.closed = False

    async def go_on(self) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(self.seconds)
            self.closed = True


async def test_cancelled_it_returns_when_the_last_has_closed() -> None:
    quick, slow = Work(), Work(0.1)
    running = asyncio.create_task(together(quick.go_on(), together(slow.go_on())))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert quick.closed and slow.closed


async def test_an_error_of_one_ends_the_others_and_is_raised() -> None:
    async def fails() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("no")

    other = Work(0.1)
    with pytest.raises(ValueError, match="no"):
        await together(other.go_on(), fails())
    assert other.closed


async def test_what_loses_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.together.GRACE_SECONDS", 0.05)

    async def deaf() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(3600)

    running = asyncio.create_task(together(deaf()))
    await asyncio.sleep(0.01)
    running.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await running
