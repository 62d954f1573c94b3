"""The places where the pieces meet: one folder per kind of scenario."""
