"""What is put in the place of nnU-Net's predictor, functions, iterators, processes and final validation."""
