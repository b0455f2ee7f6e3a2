"""How the Slack app is connected: one workspace by its tokens, or many by OAuth; over a socket or over HTTP."""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, Field, SecretStr

Mode = Literal["off", "socket", "http"]


class SlackSettings(BaseModel):
    """`socket` needs no public address; `http` listens on /slack/events of `nightschool serve`."""

    mode: Mode = Field(
        default="off",
        description="How Slack reaches the bot: `socket` (Socket Mode, no public address), `http` (/slack/events), or `off`.",
    )
    bot_token: SecretStr | None = Field(default=None, description="Token of the bot in one workspace, `xoxb-…`.")
    app_token: SecretStr | None = Field(default=None, description="Token of the app for Socket Mode, `xapp-…`.")
    signing_secret: SecretStr | None = Field(
        default=None, description="What Slack signs its requests with; needed for `http`."
    )
    client_id: str | None = Field(default=None, description="The app's client id, to be installed in many workspaces.")
    client_secret: SecretStr | None = Field(default=None, description="The app's client secret, to go with its id.")
    api_url: str = Field(
        default="https://slack.com/api/",
        pattern=r"^https?://\S+/$",
        description="Base URL of the Web API; GovSlack has https://slack-gov.com/api/, a proxy its own.",
    )
    authorize_url: str = Field(
        default="https://slack.com/oauth/v2/authorize",
        pattern=r"^https?://\S+$",
        description="Where an installation in a further workspace begins.",
    )
    strangers: bool = Field(
        default=False, description="Whether people of other organisations (Slack Connect) are heard and answered too."
    )

    @property
    def many(self) -> bool:
        """Whether the app is installed by OAuth rather than by a token in the settings."""
        return self.bot_token is None and self.client_id is not None

    def problems(self) -> Iterator[str]:
        """What is missing for the mode, a line each, with what to do."""
        if self.mode == "off":
            return
        if self.bot_token is None and self.client_id is None:
            yield "Slack: set NIGHTSCHOOL_SLACK__BOT_TOKEN (xoxb-…, from OAuth & Permissions of the app's page)."
        if self.client_id is not None and self.client_secret is None:
            yield "Slack: set NIGHTSCHOOL_SLACK__CLIENT_SECRET beside the client id (Basic Information of the app's page)."
        if self.mode == "socket" and self.app_token is None:
            yield "Slack: Socket Mode needs NIGHTSCHOOL_SLACK__APP_TOKEN (xapp-…, with the scope connections:write)."
        if self.mode == "http" and self.signing_secret is None:
            yield "Slack: over HTTP set NIGHTSCHOOL_SLACK__SIGNING_SECRET (Basic Information of the app's page)."
        for name, prefix in (("bot_token", "xoxb-"), ("app_token", "xapp-")):
            value = getattr(self, name)
            if value is not None and not value.get_secret_value().startswith(("xoxe.", prefix)):
                yield f"Slack: NIGHTSCHOOL_SLACK__{name.upper()} should begin with {prefix}: another token was put there."
