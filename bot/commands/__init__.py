"""What each command of `nightschool` does."""
