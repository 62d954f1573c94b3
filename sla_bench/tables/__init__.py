"""Tables and plots: pure functions of the store."""
