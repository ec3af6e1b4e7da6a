"""Native counterparts of batchgeneratorsv2.transforms.utils, a file for each of its files."""
