"""People of a workspace who write, react, edit and ask all the time, and what came of their questions."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.fakes.slack import FakeSlack, Message, SlackError

REACTIONS, EDITS, QUESTIONS = 0.10, 0.05, 0.05
"""Shares of what people do; the rest is talk. A question has a mention, and Slack delivers it as two events."""

_PEOPLE, _CHANNELS, _RECENT = 20, 5, 50
_THINGS = ("printer", "coffee machine", "lift", "projector", "crane", "ferry", "meeting room", "build server", "gate")
_STATES = ("broken", "busy", "being cleaned", "ready again", "reserved", "late", "closed", "out of paper", "on its way")
_TIMES = ("since Monday", "until Friday", "for the whole week", "after lunch", "from nine o'clock", "as of today")
_EMOJI = ("eyes", "tada", "thumbsup", "heart", "joy", "rocket", "wave")


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one question: seconds until its first words and until it was whole (None: never), and how many replies."""

    first: float | None
    whole: float | None
    replies: int


class Talk:
    """What goes on in a workspace, drawn by a seed."""

    def __init__(self, slack: FakeSlack, questions: Sequence[str], share: float = QUESTIONS, seed: int = 0) -> None:
        """`share`: of questions among what people do."""
        self._slack = slack
        self._questions = questions
        self._share = share
        self._chance = random.Random(seed)
        workspace = slack.workspace
        self._people = [workspace.add_user(f"person{number}") for number in range(_PEOPLE)]
        self._channels = [
            workspace.add_channel(f"channel{number}", members=self._people, with_bot=True)
            for number in range(_CHANNELS)
        ]
        self.said: list[Message] = []
        self.asked: list[tuple[Message, float]] = []
        """The questions, each with the time of the monotonic clock when it was asked."""

    async def go_on(self, per_second: float, acts: int) -> None:
        """So many acts, evenly in time."""
        started = time.monotonic()
        for number in range(acts):
            await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
            await self._act()

    async def _act(self) -> None:
        workspace, chance = self._slack.workspace, self._chance
        user, channel, drawn = chance.choice(self._people), chance.choice(self._channels), chance.random()
        recent = self.said[-_RECENT:]
        if drawn < self._share:
            await self.ask()
        elif recent and drawn < self._share + REACTIONS:
            message = chance.choice(recent)
            try:
                await workspace.react(user, message.channel, message.ts, chance.choice(_EMOJI))
            except SlackError:  # that person did so already
                self.said.append(await workspace.say(user, channel, self._words()))
        elif recent and drawn < self._share + REACTIONS + EDITS:
            message = chance.choice(recent)
            await workspace.edit(message.channel, message.ts, self._words())
        else:
            self.said.append(await workspace.say(user, channel, self._words()))

    async def ask(self) -> None:
        """Somebody asks the bot something."""
        workspace, chance = self._slack.workspace, self._chance
        question = f"<@{workspace.bot.id}> {chance.choice(self._questions)}"
        asked = await workspace.say(chance.choice(self._people), chance.choice(self._channels), question)
        self.asked.append((asked, time.monotonic()))

    def _words(self) -> str:
        chance = self._chance
        thing, state, when = chance.choice(_THINGS), chance.choice(_STATES), chance.choice(_TIMES)
        return f"The {thing} number {chance.randrange(10_000)} on floor {chance.randrange(40)} is {state} {when}."

    def told(self) -> list[Told]:
        """What came of each question until now."""
        first: dict[tuple[str, str], float] = {}
        where: dict[tuple[str, str], str] = {}
        whole: dict[tuple[str, str], float] = {}
        for call in self._slack.calls:
            if not call.ok or call.answer is None:
                continue
            channel, thread = str(call.args.get("channel")), call.args.get("thread_ts")
            if call.method in ("chat.startStream", "chat.postMessage") and thread:
                first.setdefault((channel, str(thread)), call.at)
                where[channel, str(call.answer.get("ts"))] = str(thread)
                if call.method == "chat.postMessage" and call.args.get("blocks"):
                    whole[channel, str(thread)] = call.at
            root = where.get((channel, str(call.args.get("ts"))))
            if root and call.method in ("chat.stopStream", "chat.update"):
                whole[channel, root] = call.at
        workspace = self._slack.workspace
        replies = Counter(
            (message.channel, message.thread_ts)
            for channel in self._channels
            for message in workspace.posted[channel.id].values()
            if message.user == workspace.bot.id
        )
        keys = [((one.channel, one.ts), at) for one, at in self.asked]
        return [Told(_since(first.get(key), at), _since(whole.get(key), at), replies[key]) for key, at in keys]


def _since(then: float | None, at: float) -> float | None:
    return None if then is None else then - at
