"""What a loader has done and costs, and where it is told: a log, files for machines, a terminal."""
