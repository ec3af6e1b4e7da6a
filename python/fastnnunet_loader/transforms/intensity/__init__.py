"""Native counterparts of batchgeneratorsv2.transforms.intensity, a file for each of its files."""
