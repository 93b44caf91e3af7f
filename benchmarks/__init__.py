"""Measurements: statistics of the simulator, and speed as ratios to peers in the same process."""
