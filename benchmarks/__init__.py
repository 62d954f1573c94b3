"""Reference grids, and what they and the pieces cost."""
