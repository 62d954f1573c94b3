"""Figures: three drawers, and for each figure a function that prepares its data."""
