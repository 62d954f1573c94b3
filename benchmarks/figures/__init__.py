"""Writes the measured values of README and docs from results/reference."""
