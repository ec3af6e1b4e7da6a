"""What takes an accelerator: pinned memory, training and prediction on a CUDA device. `python -m tests.gpu [WORD ...]`."""
