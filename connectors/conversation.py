"""A conversation that lies in a file: one JSON object a line becomes one message.

{"id": "17", "channel": "general", "private": false, "thread": null, "author": "Ada", "at": "2026-03-02T09:15:00+01:00",
 "text": "The kiosk moves to floor 2."}
"""

import asyncio
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NaiveDatetime, ValidationError

from connectors.connector import Progress, Skipped, Synced, silent
from storage import audiences, messages, persons, sources
from storage.database import Connection, Database
from storage.errors import NightschoolError

log = structlog.get_logger(__name__)

SURFACE = "file"
_AT_ONCE = 200


class ConversationMissing(NightschoolError):
    """The conversation's file cannot be read: check its path and permissions."""


class ConversationEmpty(NightschoolError):
    """The conversation's file holds no message: write one JSON object a line."""


class Line(BaseModel):
    """One message as the file has it. A time without a zone is taken as UTC."""

    model_config = ConfigDict(str_strip_whitespace=True, coerce_numbers_to_str=True)

    id: str = Field(min_length=1)
    channel: str = Field(min_length=1)
    private: bool
    thread: str | None = None
    author: str = Field(min_length=1)
    at: AwareDatetime | NaiveDatetime
    text: str = Field(min_length=1)

    @property
    def said_at(self) -> dt.datetime:
        """When it was said, with its zone."""
        return self.at if self.at.tzinfo else self.at.replace(tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class _Content:
    lines: dict[str, Line]
    skipped: list[Skipped]
    sha256: str
    changed_at: dt.datetime


class ConversationConnector:
    """A chat.jsonl. A message stays when its line is gone (such files get shortened); a changed text is an edit.

    What is said in a private channel may be known to its authors only; what is said in a public one, to the team.
    `training`: whether a source that is new may train (an admin can switch it later).
    """

    kind = "conversation"

    def __init__(self, path: Path, *, training: bool = True) -> None:
        self.path = path.expanduser().absolute()
        self.training = training

    async def sync(self, database: Database, team_id: int, progress: Progress = silent) -> Synced:
        """Imports what is new; importing again changes nothing. Raises ConversationMissing and ConversationEmpty."""
        content = await asyncio.to_thread(self._read)
        lines = list(content.lines.values())
        synced = Synced(skipped=content.skipped)
        async with database.team(team_id) as connection:
            source = await sources.ensure(
                connection, self.kind, str(self.path.resolve()), self.path.name, training=self.training
            )
            before = {m.event_id: m for m in await messages.current(connection) if m.surface == SURFACE}
            authors = {
                name: (await persons.identify(connection, SURFACE, name, name)).id
                for name in sorted({line.author for line in lines})
            }
            audience_of = await self._audiences(connection, lines, authors)
        for done in range(0, len(lines), _AT_ONCE):
            progress(self.path.name, done, len(lines))
            async with database.team(team_id) as connection:
                for line in lines[done : done + _AT_ONCE]:
                    known = before.get(self._event_id(line))
                    if known is None:
                        new = self._message(source.id, audience_of[line.channel], authors[line.author], line)
                        saved = await messages.save(connection, new) is not None
                        synced.added += saved
                    elif known.source_id != source.id:
                        why = "was imported before from another file of this name; rename this file"
                        synced.skipped.append(Skipped(known.event_id, why))
                        continue
                    else:
                        saved = known.text != line.text and bool(
                            await messages.edit(connection, SURFACE, known.event_id, line.text, content.changed_at)
                        )
                        synced.changed += saved
                    synced.unchanged += not saved
        progress(self.path.name, len(lines), len(lines))
        async with database.team(team_id) as connection:
            await sources.record(connection, source.id, cursor={"sha256": content.sha256}, state="ok", error=None)
        log.info("conversation_imported", source=source.id, added=synced.added, skipped=len(synced.skipped))
        return synced

    def _event_id(self, line: Line) -> str:
        return f"{self.path.name}:{line.id}"

    async def _audiences(
        self, connection: Connection, lines: Sequence[Line], authors: Mapping[str, int]
    ) -> dict[str, int]:
        """Each channel's audience; a private one has its authors as members.

        A channel that is private in one line is private in all: no message may be shown wider than it was said.
        """
        private = {line.channel for line in lines if line.private}
        found: dict[str, int] = {}
        for name in sorted({line.channel for line in lines}):
            key = f"{self.path.name}:{name}"
            audience = await audiences.channel(connection, SURFACE, key, name, private=name in private)
            if name in private:
                members = {authors[line.author] for line in lines if line.channel == name}
                await audiences.set_members(connection, audience.id, sorted(members))
            found[name] = audience.id
        return found

    def _message(self, source_id: int, audience_id: int, person_id: int, line: Line) -> messages.NewMessage:
        return messages.NewMessage(
            source_id=source_id,
            surface=SURFACE,
            event_id=self._event_id(line),
            channel=line.channel,
            thread=line.thread,
            person_id=person_id,
            author=line.author,
            text=line.text,
            said_at=line.said_at,
            audience_id=audience_id,
        )

    def _read(self) -> _Content:
        try:
            raw = self.path.read_bytes()
            changed_at = dt.datetime.fromtimestamp(self.path.stat().st_mtime, dt.UTC)
        except OSError as error:
            raise ConversationMissing(
                f"{self.path} cannot be read ({error.strerror}). Check its path and permissions."
            ) from error
        lines: dict[str, Line] = {}
        skipped: list[Skipped] = []
        for number, row in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
            if not row.strip():
                continue
            place = f"{self.path.name}:{number}"
            try:
                line = Line.model_validate_json(row.replace(b"\\u0000", b""))
            except ValidationError as error:
                skipped.append(Skipped(place, _why(error)))
                continue
            if lines.setdefault(line.id, line) != line:
                skipped.append(Skipped(place, f"uses the id {line.id} again for another message; give it its own"))
        if not lines:
            named = "".join(f"\n  {item.key} {item.why}" for item in skipped[:5])
            raise ConversationEmpty(
                f"{self.path} holds no message. Each line must be a JSON object with id, channel, private, author, "
                f"at and text.{named}"
            )
        return _Content(lines, skipped, hashlib.sha256(raw).hexdigest(), changed_at)


def _why(error: ValidationError) -> str:
    """What is wrong with a line, without any of its words: these messages are logged and shown."""
    problems: Sequence[str] = [
        f"{'.'.join(str(part) for part in problem['loc'][:1]) or 'the line'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    return f"is malformed ({'; '.join(dict.fromkeys(problems))[:200]}); mend the line"
