"""Native counterparts of batchgeneratorsv2.transforms.nnunet, a file for each of its files."""
