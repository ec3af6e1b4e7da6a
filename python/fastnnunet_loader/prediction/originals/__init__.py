"""What is nnU-Net's own: whether native code may stand in its place, and what a user or another program changed."""
