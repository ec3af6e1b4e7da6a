"""Trainings and predictions in real containers, as locked up as clusters lock them up."""
