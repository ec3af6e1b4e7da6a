"""What users of PyTorch's DataLoader expect: its arguments, batches on a device, data sets as a source."""
