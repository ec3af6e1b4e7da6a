"""What training scripts give without nnU-Net: folders, class locations that no preprocessing found, epochs."""
