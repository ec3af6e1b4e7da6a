"""Ranks: what they share through their key-value store, and the processes of `-num_gpus`."""
