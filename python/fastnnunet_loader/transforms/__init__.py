"""From batchgeneratorsv2's transforms to the core's: what has a native counterpart, and what runs in Python."""
