"""What a training or a fleet of predictions takes that is larger than one GPU on one machine."""
