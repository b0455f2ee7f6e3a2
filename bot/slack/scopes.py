"""What the Slack app asks for, and why: each scope is shown to whoever installs it.

https://docs.slack.dev/reference/scopes says what each allows.
"""

SCOPES = {
    "app_mentions:read": "Hear when somebody mentions it.",
    "assistant:write": "Suggest questions where people write to it, and show that it is thinking.",
    "channels:history": "Read the public channels it was invited to, to learn from them and to follow a thread.",
    "channels:read": "Know those channels' names, and who is in them.",
    "chat:write": "Answer.",
    "commands": "Its slash command and shortcuts.",
    "groups:history": "Read the private channels it was invited to.",
    "groups:read": "Know who is in a private channel: what was said there is told to nobody else.",
    "im:history": "Read what people write to it directly.",
    "im:read": "Know which direct conversations it has.",
    "mpim:history": "Read the group conversations it was added to.",
    "mpim:read": "Know who is in a group conversation.",
    "reactions:read": "Take a thumb under an answer as feedback.",
    "reactions:write": "Mark a message that taught it something, or thanked it.",
    "users:read": "Know people's names, and who is an admin or from another organisation.",
}
"""Scope of the bot's token: its reason. No user's token is ever asked for."""
