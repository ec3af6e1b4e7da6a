"""Digests of batches: the same seed gives the same bits on every machine, and after every change of the code."""
