"""Native counterparts of batchgeneratorsv2.transforms.local, a file for each of its files."""
