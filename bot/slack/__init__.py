"""Slack as a place to talk: what comes in, what is said, and how it looks there."""
