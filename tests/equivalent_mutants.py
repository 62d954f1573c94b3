"""Mutants that no test can notice, by the reason; see `code_mutations.py`."""

# ruff: noqa: E501 - names are what they are

EQUIVALENT = {
    "How many replicates of the bootstrap are drawn at a time is a matter of memory.": [
        "statistics.module: 2 -> 3 in _BOOTSTRAP_CHUNK = 2 ** 22",
        "statistics.module: 22 -> 23 in _BOOTSTRAP_CHUNK = 2 ** 22",
        "statistics.module: 22 -> 21 in _BOOTSTRAP_CHUNK = 2 ** 22",
        "statistics.crossed_bootstrap_gain: 1 -> 2 in chunk = max(1, _BOOTSTRAP_CHUNK // samples)",
        "statistics.crossed_bootstrap_gain: _BOOTSTRAP_CHUNK // samples -> _BOOTSTRAP_CHUNK * samples in chunk = max(1, _BOOTSTRAP_CHUNK // samples)",
    ],
    "A variance is that of values moved by any number: the mean added, not taken off.": [
        "statistics.mean_interval: accuracies - mean -> accuracies + mean in return _interval(mean, accuracies - mean, strata)",
        "statistics.mean_over_seeds: figures - figures.mean() -> figures + figures.mean() in return _seed_interval(float(figures.mean()), figures - figures.mean())",
    ],
    "Where nothing varies the error becomes 0, and the degrees of freedom NaN, from either.": [
        "statistics._variance_of_mean: return (0.0, float('nan')) -> return (float('nan'), 0.0)",
    ],
    "Whether an error or a gain of exactly 1e-14 counts as rounding means nothing.": [
        "statistics._without_rounding: error > _ROUNDING * max(1.0, abs(estimate)) -> error >= _ROUNDING * max(1.0, abs(estimate)) in return error if error > _ROUNDING * max(1.0, abs(estimate)) else 0.0",
        "statistics._two_sided_p: abs(estimate) <= _ROUNDING -> abs(estimate) < _ROUNDING in return 1.0 if abs(estimate) <= _ROUNDING else 0.0",
    ],
    "Sums count as equal within 1e-12 of their terms, far above rounding; so they do within 2e-12.": [
        "statistics._sign_flip_test: 1e-12 -> 2e-12 in observed = abs(float(differences.sum())) - 1e-12 * float(np.abs(differences).sum())",
    ],
    "The tensors of a batch all have its number of episodes.": [
        "objectives.base.EpisodeFeatures.split: True -> False in parts = zip(*(tensor.split(1) for tensor in tensors), strict=True)",
    ],
    "The place of the largest entry carries no gradient, detached or not.": [
        "objectives.base.accuracy: logits.detach() -> logits in return (logits.detach().argmax(-1) == labels).float().mean()",
    ],
    "Logits of the view are square: one row and one column for each view.": [
        "objectives.base.view_cross_entropy: 1 -> 2 in labels = torch.arange(logits.shape[-1], device=logits.device).expand(logits.shape[:-1])",
    ],
}
