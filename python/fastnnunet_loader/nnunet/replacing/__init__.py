"""Replaces names in modules of others, and puts them back."""
