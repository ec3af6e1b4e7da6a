"""What nnU-Net does after predictions: metrics, ensembles, postprocessing; and its pools of cases on threads."""
