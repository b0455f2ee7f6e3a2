"""Posts: where an answer stands on a surface. What a reaction or a reply is on, and what tells that it was posted already."""

from dataclasses import dataclass

from storage.database import Connection
from storage.queries import queries
from storage.rows import made

_SQL = queries("posts")


@dataclass(frozen=True, slots=True)
class Post:
    """One message of the bot's: `key` is the surface's id of it in `channel`, `part` its place in an answer of several.

    `answer_id` is None from the first words until the answer is stored.
    """

    surface: str
    channel: str
    key: str
    thread: str | None
    event_id: str
    answer_id: int | None = None
    part: int = 0


async def save(connection: Connection, post: Post) -> None:
    """Notes a post, or the answer of one that was noted before."""
    await connection.execute(_SQL["save"], {name: getattr(post, name) for name in Post.__dataclass_fields__})


async def get(connection: Connection, surface: str, channel: str, key: str) -> Post | None:
    """The post at a place, if it is one of the bot's answers."""
    values = {"surface": surface, "channel": channel, "key": key}
    row = await (await connection.execute(_SQL["get"], values)).fetchone()
    return made(Post, row) if row else None


async def of_event(connection: Connection, surface: str, event_id: str) -> list[Post]:
    """The posts that answer an event, part after part."""
    values = {"surface": surface, "event_id": event_id}
    return [made(Post, row) for row in await (await connection.execute(_SQL["of_event"], values)).fetchall()]


async def of_thread(connection: Connection, surface: str, channel: str, thread: str) -> list[Post]:
    """The bot's posts in a thread, its head included, oldest first."""
    values = {"surface": surface, "channel": channel, "thread": thread}
    return [made(Post, row) for row in await (await connection.execute(_SQL["of_thread"], values)).fetchall()]


async def drop(connection: Connection, surface: str, channel: str, key: str) -> None:
    """Forgets a post that was deleted on its surface."""
    await connection.execute(_SQL["drop"], {"surface": surface, "channel": channel, "key": key})
