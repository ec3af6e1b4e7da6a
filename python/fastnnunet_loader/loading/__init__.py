"""The data loader: which cases there are, how batches are asked for, and what a loader tells of itself."""
