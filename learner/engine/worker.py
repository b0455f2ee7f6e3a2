"""The engine's thread: the only one that touches the model. It batches whatever waits and steps through it."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from traceback import format_exception
from typing import Any, TypeVar

import structlog

from learner.engine.decoding import Batch, Row, reply_logprobs
from learner.engine.engine import EngineClosed, EngineError
from learner.engine.lora import LoraBank

log = structlog.get_logger(__name__)

T = TypeVar("T")

CACHE_TOKENS = 32768
"""Tokens, padding included, that the caches of all batches may hold together (more only for a single longer request).

For SmolLM2-135M (23 KB a token in bf16) that is 750 MB.
"""
_WASTE = 1024  # tokens of padding that a batch may always have
_SCORED = 1024  # tokens scored at once: their logits over a large vocabulary are what fills the memory


@dataclass(slots=True, eq=False)
class Scoring:
    """A reply to be scored: `done` gets the log-probability of each of its tokens."""

    prompt: list[int]
    reply: list[int]
    adapter: str | None
    done: Callable[[list[float]], None]
    on_error: Callable[[Exception], None]
    cancelled: bool = False


class Worker:
    """A thread with the model, its queue of requests and its batches."""

    def __init__(self, model: Any, bank: LoraBank, ready: Callable[[str, set[str]], bool], max_batch: int) -> None:
        """`ready(adapter, in_use)`, called on the thread, sees to it that an adapter is in memory; False: not yet."""
        self._model, self._bank, self._ready, self._max_batch = model, bank, ready, max_batch
        self._wake = threading.Condition()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._arrived: deque[Row | Scoring] = deque()
        self._closing = False
        self._waiting: deque[Row | Scoring] = deque()
        self._batches: list[Batch] = []
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Row | Scoring) -> None:
        """Queues a request. Raises EngineClosed."""
        self._put(self._arrived, request)

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Runs `function` on the thread between two forward passes. Raises EngineClosed."""
        future: Future[T] = Future()
        self._put(self._calls, (function, future))
        return future

    def close(self) -> None:
        """Ends the thread and waits for it; what is under way raises EngineClosed."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def in_use(self) -> set[str]:
        """Adapters of the batches under way (to be asked on the thread)."""
        return {row.adapter for batch in self._batches for row in batch.rows if row.adapter is not None}

    def _put(self, queue: deque[Any], item: Any) -> None:
        with self._wake:
            if self._closing:
                raise EngineClosed("The engine is closed: start Nightschool anew.")
            queue.append(item)
            self._wake.notify()

    def _run(self) -> None:
        try:
            while self._take():
                self._score()
                self._admit()
                self._step()
        except BaseException as error:
            log.critical("the engine's thread died", traceback="".join(format_exception(error)))
        finally:
            with self._wake:
                self._closing = True
                calls, requests = list(self._calls), [*self._waiting, *self._arrived]
            closed = EngineClosed("The engine was closed before it could answer: start Nightschool anew.")
            for _, future in calls:
                future.set_exception(closed)
            for request in [*requests, *(row for batch in self._batches for row in batch.rows)]:
                request.on_error(closed)
            self._batches = []
            # A closed engine may be held for a while yet, by whoever closed it: the model is not.
            del self._model, self._bank, self._ready

    def _take(self) -> bool:
        """Waits for work, lets cancelled requests go, makes the calls; False when closing."""
        with self._wake:
            while not (self._closing or self._arrived or self._calls or self._waiting or self._batches):
                self._wake.wait()
            if self._closing:
                return False
            self._waiting.extend(self._arrived)
            self._arrived.clear()
            calls = list(self._calls)
            self._calls.clear()
        self._waiting = deque(request for request in self._waiting if not request.cancelled)
        for batch in self._batches:
            batch.drop_cancelled()
        self._batches = [batch for batch in self._batches if batch.rows]
        for function, future in calls:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
        return True

    def _score(self) -> None:
        """Scores the replies that wait, as many at once as the batch and the cache allow."""
        taken: list[Scoring] = []
        for request in [r for r in self._waiting if isinstance(r, Scoring)]:
            if len(taken) == self._max_batch or (taken and not _scorable([*taken, request])):
                break
            if not self._has_adapter(request, {s.adapter for s in taken if s.adapter}):
                continue
            taken.append(request)
        if not taken:
            return
        taken.sort(key=lambda request: request.adapter or "")  # neighbours of one adapter cost less
        gone = set(map(id, taken))
        self._waiting = deque(r for r in self._waiting if id(r) not in gone)
        try:
            self._bank.select([s.adapter for s in taken], self.in_use())
            chances = reply_logprobs(self._model, [s.prompt for s in taken], [s.reply for s in taken])
            for request, row in zip(taken, chances, strict=True):
                request.done(row)
        except Exception as error:
            self._fail(taken, error)

    def _admit(self) -> None:
        """Makes a batch of requests that wait and fit together, unless one is still reading its prompts."""
        if any(not batch.filled for batch in self._batches):
            return
        room = self._max_batch - sum(len(batch.rows) for batch in self._batches)
        cached = sum(len(b.rows) * max(b.width - r.made + r.max_tokens for r in b.rows) for b in self._batches)
        taken: list[Row] = []
        left: deque[Row | Scoring] = deque()
        for request in self._waiting:
            # Where the oldest cannot start yet, nobody overtakes it: it would wait for ever.
            blocked = bool(not taken and any(isinstance(other, Row) for other in left))
            if isinstance(request, Row) and not blocked and len(taken) < room and _fits([*taken, request], cached):
                if self._has_adapter(request, {r.adapter for r in taken if r.adapter}):
                    taken.append(request)
                    continue
                if request.cancelled:  # its adapter is beyond reach, and it has been told
                    continue
            left.append(request)
        self._waiting = left
        if taken:
            self._begin(taken)

    def _begin(self, rows: list[Row]) -> None:
        batch = Batch.of(self._model, rows)
        try:
            if batch.shared:
                self._bank.select([rows[0].adapter], self.in_use())
                batch.read_shared()
            self._batches.append(batch)
        except Exception as error:
            self._fail(rows, error)

    def _has_adapter(self, request: Row | Scoring, beside: set[str]) -> bool:
        if request.adapter is None:
            return True
        try:
            return self._ready(request.adapter, self.in_use() | beside)
        except Exception as error:
            request.on_error(error)
            request.cancelled = True
            return False

    def _step(self) -> None:
        for batch in self._batches:
            try:
                self._bank.select([row.adapter for row in batch.rows], self.in_use())
                batch.advance()
            except Exception as error:
                self._fail(batch.rows, error)
                batch.rows = []
        self._batches = self._joined([batch for batch in self._batches if batch.rows])

    def _joined(self, batches: list[Batch]) -> list[Batch]:
        """The batches, with those made one that waste little by it."""
        kept: list[Batch] = []
        for batch in batches:
            for other in kept:
                rows = len(batch.rows) + len(other.rows)
                widths = len(batch.rows) * batch.width + len(other.rows) * other.width
                little = rows * max(batch.width, other.width) <= 2 * widths + _WASTE
                if little and batch.filled and other.filled and batch.joinable and other.joinable:
                    other.join(batch)
                    break
            else:
                kept.append(batch)
        return kept

    def _fail(self, requests: list[Row] | list[Scoring], error: Exception) -> None:
        # The plain traceback: some renderers print local variables, and these hold what people wrote.
        log.error("a batch failed", requests=len(requests), traceback="".join(format_exception(error)))
        for request in requests:
            told = EngineError(
                f"The model failed ({type(error).__name__}: {error}): see the log; a smaller batch may help."
            )
            told.__cause__ = error
            request.on_error(told)


def _fits(rows: list[Row], cached: int) -> bool:
    """Whether `rows` make a batch without much padding, beside caches of `cached` tokens."""
    lengths = [len(row.prompt) for row in rows]
    if max(lengths) * len(rows) > 2 * sum(lengths) + _WASTE:
        return False
    return cached + max(row.reserved for row in rows) * len(rows) <= CACHE_TOKENS or (len(rows) == 1 and not cached)


def _scorable(requests: list[Scoring]) -> bool:
    """Whether `requests` make a batch without much padding, and without logits that fill the memory."""
    lengths = [len(request.prompt) + len(request.reply) for request in requests]
    logits = max(len(request.reply) for request in requests) * len(requests)
    return max(lengths) * len(requests) <= 2 * sum(lengths) + _WASTE and logits <= _SCORED
