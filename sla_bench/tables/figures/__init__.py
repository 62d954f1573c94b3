"""Figures: three drawers, and a function per figure."""
