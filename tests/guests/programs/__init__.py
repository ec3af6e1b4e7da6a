"""One file for each program. Its `GUEST` tells what it is; what runs in its environment imports nothing of the tests."""
