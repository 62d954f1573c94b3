"""Which images a training sees, and the loop that all trainings share."""
