"""The base model and the adapters on it: messages in, text out."""
