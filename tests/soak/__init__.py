"""Many batches on two threads: memory, handles and threads stay as they are. `python -m tests.soak` prints the figures."""
