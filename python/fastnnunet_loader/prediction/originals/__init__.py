"""nnU-Net's original code: whether native code may replace it, and what a user or another program has changed."""
