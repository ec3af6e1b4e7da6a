"""Digests of batches and predictions: the same bits on every machine, and after every change of the code."""
