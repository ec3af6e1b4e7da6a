"""Prediction in one process: threads read the next case and write the last one while the network works on this one."""
