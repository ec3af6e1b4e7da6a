"""Native counterparts of batchgeneratorsv2.transforms.spatial, a file for each of its files."""
