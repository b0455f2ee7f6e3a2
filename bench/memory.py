"""The most memory that a benchmark and the processes it starts hold at once, and what the machine swapped meanwhile."""

import threading
from types import TracebackType

import psutil

_EVERY_SECONDS = 0.2


class PeakMemory:
    """Watches from a thread while it is entered; `bytes` is the highest sum of resident sizes seen.

    `swapped` is by how much the machine's swap, other programs' included, grew at most, in bytes.
    Pages that parent and training share (PyTorch's code) are counted for both: the true figure is a little lower.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.swapped = 0
        self._swap_before = psutil.swap_memory().used
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(_EVERY_SECONDS):
            held = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    held += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.bytes = max(self.bytes, held)
            self.swapped = max(self.swapped, psutil.swap_memory().used - self._swap_before)
