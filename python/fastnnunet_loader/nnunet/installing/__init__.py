"""`install()`: all of it, or what the commands that plan and preprocess need."""
