"""Slow storage: files of cases are copied once to a disk of the machine, and may be at addresses that fsspec reads."""
