"""Supervised and preference training of an adapter, in a process of its own.

The night calls `learner.training.run.train`; what touches torch runs in the child, `python -m learner.training`.
"""
