"""Scripts that the doctor runs in processes of their own. Each ends with exit code 0, or with an exception."""
