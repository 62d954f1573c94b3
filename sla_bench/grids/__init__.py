"""From what a user asks for to trainings and evaluations."""
