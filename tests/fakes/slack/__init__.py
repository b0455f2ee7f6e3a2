"""A server that behaves like Slack, for the official SDK to talk to: Web API, events, interactions, Socket Mode, OAuth.

    async with FakeSlack(request_url="http://127.0.0.1:3000/slack/events") as slack:
        client = AsyncWebClient(slack.bot_token, base_url=slack.base_url)
        ana = slack.workspace.add_user("ana")
        channel = slack.workspace.add_channel("port", members=[ana], with_bot=True)
        question = await slack.workspace.say(ana, channel, f"<@{slack.workspace.bot.id}> When do we close?")
        answer = await slack.wait_for(lambda: slack.workspace.from_bot(channel, question.ts))

What it refuses follows https://docs.slack.dev; where the docs are silent, the module says on what it rests.
"""

from tests.fakes.slack.delivery import Delivery, signature
from tests.fakes.slack.objects import Channel, Ephemeral, Message, SlackError, User, View
from tests.fakes.slack.server import FakeSlack
from tests.fakes.slack.workspace import Workspace

__all__ = [
    "Channel",
    "Delivery",
    "Ephemeral",
    "FakeSlack",
    "Message",
    "SlackError",
    "User",
    "View",
    "Workspace",
    "signature",
]
