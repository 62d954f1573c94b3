"""Accuracies of two methods from a balanced crossed random-effects model."""

MEAN0, MEAN1 = 0.60, 0.66


def crossed_pair(rng, seeds, samples, seed_sd=0.03, sample_sd=0.06, rest_sd=0.05):
    """Two methods, (S, T) each; samples have a part common to both."""
    common = rng.normal(0, 0.08, size=samples)
    return [
        mean
        + common
        + rng.normal(0, seed_sd, size=(seeds, 1))
        + rng.normal(0, sample_sd, size=samples)
        + rng.normal(0, rest_sd, size=(seeds, samples))
        for mean in (MEAN0, MEAN1)
    ]


def influence(base, treated):
    """Of each value on the relative gain, (S, T)."""
    gain = treated.mean() / base.mean() - 1
    return (treated - (1 + gain) * base) / base.mean()
