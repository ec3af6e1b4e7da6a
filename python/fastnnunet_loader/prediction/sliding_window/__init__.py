"""The network's windows over an image, without the logits of the whole image."""
