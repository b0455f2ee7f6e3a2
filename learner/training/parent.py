"""A training process must not outlive the night that started it."""

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """End this process when its parent ends: by the kernel on Linux, elsewhere when standard input closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch_input, name="parent", daemon=True).start()


def _watch_input() -> None:
    # The parent holds the other end of standard input and never writes: the end of it is the end of the parent.
    while os.read(0, 1024):
        pass
    os._exit(1)
