"""Whole volumes through any network, without plans and files."""
