"""Benchmarks. Each builds its data, runs both sides in one go, and prints what it measured."""
