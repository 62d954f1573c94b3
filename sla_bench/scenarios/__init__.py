"""The places where the pieces meet: one file per scenario."""
