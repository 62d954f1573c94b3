"""Puts the measured figures of README and docs in their places, from the tables below results/reference."""
