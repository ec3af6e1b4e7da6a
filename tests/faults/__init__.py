"""Faults that are put into a loader while batches flow, each in a process of its own, and what has to come of them.

`python -m tests.faults` prints the table; pytest takes the same list.
"""
