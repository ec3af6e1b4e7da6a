"""What a plan does to logits after the network: labels, probabilities, files."""
