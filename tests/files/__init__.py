"""Files as people have them: what nnU-Net makes of each, and what this package makes of it."""
