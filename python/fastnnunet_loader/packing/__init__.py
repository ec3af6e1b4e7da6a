"""Image files of any kind into a folder that `DataLoader.from_folder` reads, without nnU-Net."""
