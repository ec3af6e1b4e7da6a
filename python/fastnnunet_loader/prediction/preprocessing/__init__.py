"""What a plan does to an image before the network."""
