"""The teacher: who writes the questions where the admin has set somebody better at it than the base model.

It is a model behind an OpenAI-compatible API, or a larger Transformer on this machine. A teacher who goes away is not
waited for: what it wrote is kept, and the base model writes the rest.
"""

import asyncio
import contextlib
import ctypes
import gc
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import structlog
import torch

from learner.engine.engine import Engine, EngineError, Generation, Message
from learner.engine.local import LocalEngine
from learner.engine.packaged import base_model_folder
from learner.settings import LearningSettings
from storage.errors import NightschoolError

if TYPE_CHECKING:  # it takes a second to import, and most nights need no SDK
    import openai

log = structlog.get_logger(__name__)

_SECONDS = 60.0
"""Longest wait for one reply: a server on CPU cores that gets eight prompts at once is slow, not away."""
_RETRIES = 3
"""The SDK's own, on 408, 409, 429, 5xx and lost connections: after 0.5, 1 and 2 s, or when Retry-After says."""
_SILENT = 3
"""So many replies without text one after another mean that it cannot write at all."""
_CONCURRENT = 8
_LOCAL_CONCURRENT = 64


class TeacherAway(NightschoolError):
    """The teacher cannot write; the message says why, and the base model writes in its place."""


class TeacherSilent(TeacherAway):
    """One reply has no text, as where a content filter took it; after several the teacher counts as away."""


class Teacher(Protocol):
    """Whoever writes as the engine does."""

    async def generate(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Generation:
        """The reply to `messages`. Raises TeacherAway."""

    async def close(self) -> None:
        """Lets go of connections and memory."""


class RemoteTeacher:
    """A model behind an OpenAI-compatible API."""

    def __init__(self, learning: LearningSettings, retries: int | None = None) -> None:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Omit

        key = learning.teacher_key
        self._model = learning.teacher_model or ""
        self._has_key = key is not None
        # Where no key is set one is made up: else the SDK would send whatever OPENAI_API_KEY holds, to whomever.
        self._client = AsyncOpenAI(
            base_url=learning.teacher,
            api_key=key.get_secret_value() if key else "none",
            # What is sent goes to this address, and tells it nothing of the environment's OPENAI_* variables.
            http_client=DefaultAsyncHttpxClient(follow_redirects=False),
            default_headers=cast(Any, {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()}),
            timeout=_SECONDS,
            max_retries=_RETRIES if retries is None else retries,
        )
        self._length = "max_tokens"
        self._options: dict[str, Any] = {"temperature": 0.0}

    async def generate(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Generation:
        """The reply, without log-probabilities. Raises TeacherAway."""
        from openai import OpenAIError

        started = time.perf_counter()
        try:
            reply = await self._asked(messages, max_tokens)
        except (OpenAIError, ValueError) as error:  # ValueError: what came back is no JSON
            if getattr(error, "code", None) == "content_filter":
                raise TeacherSilent("its content filter takes every question") from error
            raise TeacherAway(self._why(error)) from error
        # The SDK checks no types: another kind of server may answer anything at all.
        choices: Any = getattr(reply, "choices", None)
        text = getattr(getattr(choices[0], "message", None), "content", None) if choices else None
        if not isinstance(text, str) or not text.strip():
            raise TeacherSilent(f"{self._model} wrote no text: choose a chat model that answers without thinking first")
        usage = getattr(reply, "usage", None)
        return Generation(
            text,
            getattr(usage, "prompt_tokens", None) or 0,
            getattr(usage, "completion_tokens", None) or 0,
            (),
            time.perf_counter() - started,
            getattr(choices[0], "finish_reason", None) == "stop",
        )

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.close()

    async def _asked(self, messages: Sequence[Message], max_tokens: int) -> Any:
        """The SDK's reply. Newer models refuse `max_tokens` under its old name, or a temperature: then without."""
        from openai import BadRequestError

        while True:
            options = {self._length: max_tokens, **self._options}
            try:
                return await self._client.chat.completions.create(
                    model=self._model, messages=cast(Any, list(messages)), **options
                )
            except BadRequestError as error:
                if error.param == "max_tokens" and "max_tokens" in options:
                    self._length = "max_completion_tokens"
                elif error.param == "temperature" and "temperature" in options:
                    self._options = {}
                else:
                    raise

    def _why(self, error: "openai.OpenAIError | ValueError") -> str:
        """Why it is away, in our words: the server's may repeat the key, or what the team wrote."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        if isinstance(error, APITimeoutError):
            return f"no reply within {_SECONDS:g} s: choose a smaller model or a faster server"
        if isinstance(error, APIConnectionError):
            return "nobody answers at its address: check that it runs, and learning.teacher"
        if not isinstance(error, APIStatusError):
            return "what answers at its address does not speak OpenAI's protocol: check learning.teacher"
        # A code is one of the API's own words (`insufficient_quota`); anything longer is not trusted to be one.
        code = error.code if error.code and re.fullmatch(r"[a-z_]{3,40}", error.code) else ""
        status = f"{error.status_code} {code}".strip()
        match error.status_code:
            case 401 | 403 if self._has_key:
                return f"it refuses the key ({status}): correct learning.teacher_key"
            case 401 | 403:
                return f"it wants a key ({status}): set learning.teacher_key"
            case 404:
                return f"it knows no model {self._model!r}, or its address lacks the /v1 at the end ({status})"
            case 429:
                return f"it takes no more requests for now ({status}): look at its quota and rate limit"
            case number if number >= 500:
                return f"it failed ({status}): look at its log"
        return f"it refuses the request ({status}): choose a chat model"


class LocalTeacher:
    """A Transformer on this machine, in memory beside the base model until it is closed."""

    def __init__(self, setting: str, data_folder: Path) -> None:
        """Loads the model (seconds to minutes). Raises TeacherAway."""
        try:
            self._engine = LocalEngine(base_model_folder(setting, data_folder, "teacher"), memory_bytes=0)
        except Exception as error:  # whatever a foreign model's code makes of it: the night goes on without
            raise TeacherAway(_line(error)) from error

    async def generate(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Generation:
        """The greedy reply. Raises TeacherAway."""
        try:
            return await self._engine.generate(messages, max_tokens=max_tokens)
        except EngineError as error:
            raise TeacherAway(_line(error)) from error

    async def close(self) -> None:
        """Gives the memory back, which the training needs."""
        await self._engine.close()
        del self._engine
        gc.collect()  # the model and its adapters hold each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the training is another process
        with contextlib.suppress(AttributeError):  # glibc's, which keeps half of what was freed (measured) without it
            ctypes.CDLL(None).malloc_trim(0)


class Writer:
    """Writes a night's questions: the teacher, opened when it is first asked, and once it is away the base model.

    `away` says why the teacher is not there any more; `replies` and `tokens` (prompts included) count what it did.
    """

    def __init__(self, learning: LearningSettings, engine: Engine, data_folder: Path) -> None:
        self.away: str | None = None
        self.replies = self.tokens = 0
        self._silent = 0  # replies without text, one after another
        self._learning, self._engine, self._data_folder = learning, engine, data_folder
        self._room = asyncio.Semaphore(_CONCURRENT if learning.teacher_is_remote else _LOCAL_CONCURRENT)
        self._opening: asyncio.Task[Teacher] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._opening is not None:
            with contextlib.suppress(TeacherAway):
                await (await self._opening).close()

    async def generate(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Generation:
        """The teacher's reply, or the base model's greedy one. Raises what Engine.generate raises."""
        taught = await self._taught(messages, max_tokens) if self._learning.teacher else None
        return taught or await self._engine.generate(messages, max_tokens=max_tokens)

    def result(self) -> dict[str, Any]:
        """What the night's row keeps: nothing where no teacher is set."""
        if self._learning.teacher is None:
            return {}
        return {"teacher": {"replies": self.replies, "tokens": self.tokens, "away": self.away}}

    async def _taught(self, messages: Sequence[Message], max_tokens: int) -> Generation | None:
        async with self._room:
            if self.away is not None:
                return None
            try:
                reply = await (await self._opened()).generate(messages, max_tokens=max_tokens)
            except TeacherAway as error:
                self._silent += 1
                if isinstance(error, TeacherSilent) and self._silent < _SILENT:
                    return None
                if self.away is None:
                    log.warning("the teacher is away", why=str(error))
                    self.away = str(error)
                return None
        self._silent = 0
        self.replies += 1
        self.tokens += reply.prompt_tokens + reply.completion_tokens
        return reply

    async def _opened(self) -> Teacher:
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(_open, self._learning, self._data_folder))
        # Shielded: a load that is given up half-way would leave a model in memory that nobody frees.
        return await asyncio.shield(self._opening)


def _open(learning: LearningSettings, data_folder: Path) -> Teacher:
    if learning.teacher_is_remote:
        return RemoteTeacher(learning)
    return LocalTeacher(str(learning.teacher), data_folder)


def _line(error: BaseException) -> str:
    """The error's message as one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
