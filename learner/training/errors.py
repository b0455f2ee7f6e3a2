"""What can go wrong in a training process, worded for the operator."""


class TrainingStopped(Exception):
    """Training cannot go on, and nothing was written. The message says why and what to do."""
