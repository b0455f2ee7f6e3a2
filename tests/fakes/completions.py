"""An OpenAI-compatible API as an HTTP server on 127.0.0.1: /v1/chat/completions with one model that asks about notes."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

NOTE = re.compile(r"^Note \((?P<context>.*?)\): (?P<statement>.*)\nBegin with: (?P<start>\w+)$", re.S)


@dataclass
class Completions:
    """`async with Completions() as api:`; `api.url` is its base URL. As it is set, so it answers, from one call to the next.

    Errors repeat the key and the prompt, as careless servers do.
    """

    model: str = "scholar"
    key: str | None = None
    leaves_after: int | None = None
    """Replies before every further connection is dropped."""
    fault: tuple[int, str] | None = None
    """Status and code that every request gets."""
    says: Any = None
    """What every reply says in place of a question; None: a question, "": nothing, bytes: no JSON at all."""
    silent_at: int | None = None
    """The number of the one reply, counted from 1, that a content filter takes the text of."""
    newer: bool = False
    """Refuses `max_tokens` and `temperature`, as OpenAI's newer models do."""
    seconds: float = 0.0
    calls: list[dict[str, Any]] = field(default_factory=list)
    """The bodies that came, with the headers `authorization` and `openai-organization`."""
    replies: int = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._completions)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def notes(self) -> set[str]:
        """The statements that came, without the prompt's examples."""
        found = (NOTE.match(call["messages"][-1]["content"]) for call in self.calls)
        return {match["statement"] for match in found if match}

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        sent = {name: request.headers.get(name) for name in ("authorization", "openai-organization")}
        self.calls.append(body | sent)
        await asyncio.sleep(self.seconds)
        if self.leaves_after is not None and self.replies >= self.leaves_after:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.fault is not None:
            return self._refused(body, *self.fault)
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return self._refused(body, 401, "invalid_api_key")
        if body["model"] != self.model:
            return self._refused(body, 404, "model_not_found")
        if self.newer and (refused := body.keys() & {"max_tokens", "temperature"}):
            return self._refused(body, 400, "unsupported_parameter", max(refused))
        if isinstance(self.says, bytes):
            return web.Response(body=self.says, content_type="application/json")
        self.replies += 1
        said = None if self.replies == self.silent_at else self._question(body) if self.says is None else self.says
        message = {"role": "assistant", "content": said or None}
        return web.json_response(
            {
                "id": f"chatcmpl-{self.replies}", "object": "chat.completion", "created": 1, "model": self.model,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 200, "completion_tokens": 12, "total_tokens": 212},
            }
        )  # fmt: skip

    def _question(self, body: dict[str, Any]) -> str:
        note = NOTE.match(body["messages"][-1]["content"])
        assert note, "no prompt of a question"
        return f"{note['start']} exactly says the scholar about this, that {note['statement'].rstrip('.')}?"

    def _refused(self, body: dict[str, Any], status: int, code: str, param: str | None = None) -> web.Response:
        said = f"{code}: {self.calls[-1]['authorization']} {body['messages'][-1]['content']}"
        error = {"message": said, "type": "invalid_request_error", "param": param, "code": code}
        return web.json_response({"error": error}, status=status, headers={"retry-after-ms": "10"})
