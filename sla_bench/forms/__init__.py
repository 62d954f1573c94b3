"""What each scenario asks for: its options, budgets and limits."""
