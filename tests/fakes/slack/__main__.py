"""The fake as a process: `python -m tests.fakes.slack --port 0 --request-url http://127.0.0.1:3000/slack/events`.

Prints one JSON line with its addresses and secrets, then runs until it is stopped. People act through /control.
"""

import argparse
import asyncio
import json
import signal

from tests.fakes.slack.server import FakeSlack


async def run(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    slack = FakeSlack(options.request_url, port=options.port, mode=options.mode, rate_limits=options.rate_limits)
    slack.redirect_uri = options.redirect_uri
    async with slack:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        facts = {
            "url": slack.url,
            "base_url": slack.base_url,
            "control_url": f"{slack.url}/control",
            "team_id": slack.workspace.id,
            "bot_user_id": slack.workspace.bot.id,
            "app_id": slack.app_id,
            "bot_token": slack.bot_token,
            "app_token": slack.app_token,
            "signing_secret": slack.signing_secret,
            "client_id": slack.client_id,
            "client_secret": slack.client_secret,
        }
        print(json.dumps(facts), flush=True)
        await stop.wait()


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes.slack", description="A server that behaves like Slack."
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--request-url", help="where events go; without it, Socket Mode")
    parser.add_argument("--redirect-uri", help="where the consent page sends people if the app names no address")
    parser.add_argument("--mode", choices=["new", "old"], default="new")
    parser.add_argument("--rate-limits", action="store_true")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
