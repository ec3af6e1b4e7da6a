"""The commands from raw images to what a training reads: nnU-Net's, with its options, and `pack`."""
