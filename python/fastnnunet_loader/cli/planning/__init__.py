"""The commands from raw images to what a training reads, with the options of nnU-Net's commands of the same names."""
