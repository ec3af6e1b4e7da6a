"""What Python reads itself: the cases of a data loader, their properties and patches; reads that are retried."""
