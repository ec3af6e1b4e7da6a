"""Both loaders measured on a data set."""
