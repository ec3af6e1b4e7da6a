"""Programs of others that build on nnU-Net, run with nnU-Net as it is and with this package under it."""
