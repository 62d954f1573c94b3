"""Mutants that no test can notice, by the reason; see `code_mutations.py`."""

# ruff: noqa: E501 - names are what they are

EQUIVALENT = {
    "A variance is that of values moved by any number: the mean added, not taken off.": [
        "statistics.mean_interval: accuracies - mean -> accuracies + mean in error = crossed_error(accuracies - mean, mean, strata)",
        "statistics.mean_over_seeds: figures - mean -> figures + mean in error = seed_error(figures - mean, mean)",
    ],
    "Whether an error of exactly 1e-14 counts as rounding means nothing.": [
        "crossed_error.seed_error: own <= (_ROUNDING * max(1.0, abs(estimate))) ** 2 -> own < (_ROUNDING * max(1.0, abs(estimate))) ** 2 in if own <= (_ROUNDING * max(1.0, abs(estimate))) ** 2: own = 0.0",
    ],
    "Sums count as equal within 1e-12 of their terms, far above rounding; so they do within 2e-12.": [
        "sign_flips.sign_flip_test: 1e-12 -> 2e-12 in observed = abs(float(differences.sum())) - 1e-12 * float(np.abs(differences).sum())",
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
