"""Native counterparts of batchgeneratorsv2.transforms.noise, a file for each of its files."""
