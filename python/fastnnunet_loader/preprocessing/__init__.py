"""From raw images to what a training reads: fingerprint and preprocessing, on threads within a memory budget."""
