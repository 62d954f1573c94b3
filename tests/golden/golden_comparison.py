"""Differences between two results of the golden runs, by key."""

import math
from functools import partial

from golden_markdown import table_differences

ABSENT = "absent"


def differences(old, new, equal):
    """Values of the old results that are missing in the new ones or differ there; new keys may come.

    Args:
        old: scenario -> results, as `read_files` returns them.
        new: the same of other runs, as `read_results` returns them.
        equal: `identical`, or `near` where another processor wrote the old ones.

    Yields:
        Path (a tuple of keys), old value, new value or ABSENT.
    """
    for scenario, content in old.items():
        rest = {key: value for key, value in content.items() if key != "markdown"}
        yield from _below((scenario,), rest, new[scenario], equal)
        for number, table in enumerate(content["markdown"], 1):
            path = (scenario, "markdown", f"table {number}")
            found = table_differences(table, new[scenario]["markdown"], partial(equal, path))
            for place, before, after in found:
                yield (*path, place), before, ABSENT if after is None else after


def changes(old, new):
    """All differences to the last bit, and what is new."""
    yield from differences(old, new, identical)
    for path, value, there in differences(new, old, identical):
        if there == ABSENT:
            yield path, ABSENT, value


def _below(path, old, new, equal):
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            yield from _below((*path, key), value, new.get(key, ABSENT), equal)
    elif not equal(path, old, new):
        yield path, old, new


def identical(path, old, new):
    """Two values are the same to the last bit, however a text writes a number."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(identical(path, a, b) for a, b in zip(old, new, strict=True))
    a, b = _number(old), _number(new)
    return old == new if a is None or b is None else a == b or (math.isnan(a) and math.isnan(b))


# On another processor than the one that wrote the files, sums are rounded in another order: losses drift
# within the steps of a training, and images near a boundary change sides. Not in these tables, so identical:
# names, ids, configs, hashes, labels, drawn classes, numbers of images, steps, passes and parameters.
# Measured with AVX2 in place of AVX-512 (ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2): training losses
# 0.1 %, accuracies 3 points, mean NLL 1.2 %, 18 % of the predictions and 25 % of the hits of the longest
# trainings (baseline-xM); nearly all others keep their predictions.
RELATIVE = {"learning_rate": 1e-9, "train_loss": 0.01, "nll": 0.05}
ABSOLUTE = dict.fromkeys(("train_accuracy", "val_accuracy", "accuracy", "accuracy_open"), 0.05)
ABSOLUTE |= {"macro_f1": 0.05, "g_mean": 0.05, "ece": 0.05, "value": 10.0}
# Half of the values may differ by more than 10 %.
MANY = ("hits/", "open_hits/", "predictions/", "confidence/", "nll/", "recalls")
# One hit of a weak baseline is many per cent of it, and two validations may tie: these only have to be there.
LOOSE = (
    "best_step",
    "ci95_",
    "jackknife_",
    "gain_points",
    "gain_ci95_",
    "relative_",
    "error_",
    "p_",
    "smallest_",
)
LOOSE += ("few", "medium", "many")


def near(old, new):
    """Make an `equal` for results of two processors.

    Only how many values there are counts in evaluations of a training whose best step is another, and in
    Markdown, whose values are those of the CSV file.
    """
    moved = {
        (scenario, "runs", name, "evaluations")
        for scenario, content in old.items()
        for name, run in content["runs"].items()
        if _best_step(run) != _best_step(new[scenario]["runs"].get(name, run))
    }

    def equal(path, before, after):
        if identical(path, before, after) or "config" in path:
            return identical(path, before, after)
        if path[1] == "markdown" or path[:4] in moved:
            return _within(before, after, math.inf, 0)
        return _is_near(path[-1], before, after)

    return equal


def _best_step(run):
    return run.get("done", {}).get("best_step")


def _is_near(name, before, after):
    if name.startswith(MANY):
        return _within(before, after, 0, 0.1, share=0.5)
    if name.startswith(LOOSE):
        return _within(before, after, math.inf, 0)
    return _within(before, after, ABSOLUTE.get(name, 0), RELATIVE.get(name, 0))


def _within(before, after, absolute, relative, share=0.0):
    """As many numbers on both sides, and all but a share of them are near."""
    pairs = [_flat([value]) for value in (before, after)]
    a, b = ([_number(value) for value in values] for values in pairs)
    if len(a) != len(b) or None in a or None in b:
        return False
    far = sum(abs(x - y) > absolute + relative * abs(x) for x, y in zip(a, b, strict=True))
    return far <= share * len(a)


def _number(value):
    if isinstance(value, (bool, list, dict)) or value is None:
        return None
    try:
        # Not a run id such as 123e45678901.
        return None if math.isinf(found := float(value)) else found
    except ValueError:
        return None


def lines_of(found):
    """Each difference as a line for people; of a list, the number of values that differ and the first."""
    return [f"{' / '.join(path)}: {_change(old, new)}" for path, old, new in found]


def _change(old, new):
    if not (isinstance(old, list) and isinstance(new, list)):
        return f"{_short(old)} -> {_short(new)}"
    before, after = list(_flat(old)), list(_flat(new))
    if len(before) != len(after):
        return f"{len(before)} values -> {len(after)}"
    differing = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if not identical((), a, b)]
    if not differing:
        return "the same values, in another shape"
    first = differing[0]
    return f"{len(differing)} of {len(before)} values, number {first + 1}: {before[first]} -> {after[first]}"


def _short(value):
    text = str(value)
    return text if len(text) < 100 else f"{text[:100]}..."


def _flat(values):
    for value in values:
        yield from _flat(value) if isinstance(value, list) else (value,)
