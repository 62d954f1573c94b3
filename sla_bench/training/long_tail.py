"""Long-tailed subsets: class sizes, chosen images, size groups."""

# The rules are LDAM-DRW's (Cao, Wei, Gaidon, Arechiga, Ma, NeurIPS 2019, arXiv 1906.07413), index for index.
# Its code has the factor f = smallest / largest class; here the imbalance ratio is 1 / f.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from sla_bench.data.base import ClassOrder
from sla_bench.errors import UserError, unknown

Imbalance = Literal["exp", "step", "none"]
"""exp: class sizes fall exponentially; step: half of the classes are small; none: the data as they are."""
_HELD_OUT_STREAM = 1
_LEFT_OUT_STREAM = 2
GROUP_NAMES = ("many", "medium", "few")


def long_tailed_counts(
    num_classes: int, max_count: float, imbalance: Imbalance = "exp", ratio: float = 100.0
) -> list[int]:
    """Images of each class, largest class first.

    With f = 1 / ratio and C classes, exp: n_i = int(max_count f^(i/(C-1))). step: the first C // 2 classes
    have int(max_count), the others int(max_count f); with an odd C there is one more small than large class.
    LDAM-DRW's code agrees for even C; for odd C it leaves the last class out, which is an oversight there.
    none: int(max_count) each, at any ratio. A single class is never reduced.

    Args:
        num_classes: C, at least 1.
        max_count: size of the largest class, at least 1; need not be whole.
        imbalance: "exp", "step" or "none".
        ratio: largest / smallest class before rounding down, at least 1.

    Returns:
        C counts, each at least 1, in descending order.

    Raises:
        UserError: unknown imbalance, a ratio below 1 or not finite, or one that leaves a class empty.
    """  # noqa: DOC501
    if imbalance not in get_args(Imbalance):
        raise unknown("imbalance", imbalance, get_args(Imbalance))
    if num_classes < 1 or not 1 <= max_count < math.inf:
        raise UserError(
            f"a long tail needs at least one class and one image in the largest, got {num_classes} classes "
            f"and {max_count} images"
        )
    if not 1 <= ratio < math.inf:
        raise UserError(f"ratio is the largest class divided by the smallest, at least 1; got {ratio}")
    factor = 1 / ratio
    if imbalance == "none":
        counts = [int(max_count)] * num_classes
    elif imbalance == "step":
        large = num_classes // 2 or 1
        counts = [int(max_count)] * large + [int(max_count * factor)] * (num_classes - large)
    else:
        # The order of these operations decides the last bit and with it where int() cuts.
        counts = [int(max_count * factor ** (i / max(num_classes - 1.0, 1.0))) for i in range(num_classes)]
    empty = counts.count(0)
    if empty:
        raise UserError(
            f"ratio {ratio:g} would leave {empty} of {num_classes} classes without images, because the "
            f"largest class has {int(max_count)}; the largest whole ratio that works is "
            f"{_largest_ratio(max_count)}"
        )
    return counts


def _largest_ratio(max_count: float) -> int:
    # Rounding can make max_count * (1 / max_count) less than 1.
    largest = int(max_count)
    while int(max_count * (1 / largest)) < 1:
        largest -= 1
    return largest


def long_tailed_indices(
    labels: np.ndarray | Sequence[int],
    imbalance: Imbalance = "exp",
    ratio: float = 100.0,
    seed: int = 0,
    *,
    max_class_size: int | None = None,
    class_order: Sequence[int] | np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Choose the images of a long-tailed subset.

    Classes are taken in the order of their labels. The images of each are shuffled by numpy's legacy
    generator and the first n are kept: index for index LDAM-DRW's selection with `rand_number=seed`, without
    touching the global generator. How a class is shuffled depends neither on the ratio nor on the class
    order, so at one seed a smaller class is a part of the larger one.

    The largest class decides the counts (for balanced data LDAM-DRW's N / C). Data that are imbalanced
    already become more so: the classes keep the order of their sizes (ties: of their labels), and the i-th
    largest gets n_i images or, if it has fewer, all. The ratio is then at least the one that was asked for.

    Args:
        labels: (N,), values 0..C-1, each at least once.
        imbalance: "exp" or "step" as in `long_tailed_counts`; "none": every image, or of each class at most
            `max_class_size`; ratio and class order are then without effect.
        ratio: largest / smallest class, at least 1.
        seed: chooses the images, 0..2^32 - 1.
        max_class_size: size of the largest class; None: as large as it is.
        class_order: the class `class_order[i]` gets the i-th largest count; None: the order of the sizes,
            which for balanced data is that of the labels.
        class_names: C names, for messages; None: labels.

    Returns:
        int64 (n,), indices into `labels`, class by class; for "none" without `max_class_size` 0..N-1.

    Raises:
        UserError: as `long_tailed_counts`; labels that are not 0..C-1, a `max_class_size` that exceeds the
            largest class, a class order that is no permutation, or one that gives a class more images than
            it has.
    """
    label_array = checked_labels(labels)
    available = np.bincount(label_array)
    if imbalance == "none" and max_class_size is None:
        return np.arange(len(label_array), dtype=np.int64)
    counts = _subset_counts(available, imbalance, ratio, max_class_size, class_order, class_names)
    generator = np.random.RandomState(_checked_seed(seed))
    chosen = []
    for label, count in enumerate(counts.tolist()):
        positions = np.flatnonzero(label_array == label)
        generator.shuffle(positions)
        chosen.append(positions[:count])
    return np.concatenate(chosen).astype(np.int64)


HELD_OUT = 0.1
"""Part of the largest class that is left for validation."""


def with_held_out(
    labels: np.ndarray,
    choose: Callable[..., np.ndarray],
    max_class_size: int | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Make the largest class of a subset a tenth smaller, and hold out as many images of every class.

    Where a class has too few images outside the subset, as where data are used as they are, those that it has
    are held out and, if there are none, a tenth of its images in the subset, at least one; of a class with
    one image none is held out.

    Args:
        labels: int64 (N,).
        choose: `max_class_size` -> positions of the subset, as `long_tailed_indices`.
        max_class_size: size of the largest class before; None: as large as it is.
        seed: chooses the images that are held out.

    Returns:
        Positions of the subset and of the images that are held out, disjoint, int64.

    Raises:
        UserError: the largest class would be empty, or no class has two images.
    """
    largest = max_class_size or int(np.bincount(labels).max())
    wanted = max(1, round(HELD_OUT * largest))
    index = choose(max_class_size=max(1, largest - wanted))
    generator = np.random.default_rng([seed, _HELD_OUT_STREAM])
    outside = np.setdiff1d(np.arange(len(labels)), index, assume_unique=True)
    held_out = []
    for label in range(int(labels.max()) + 1):
        free = generator.permutation(outside[labels[outside] == label])
        if not len(free):
            own = generator.permutation(index[labels[index] == label])
            free = own[: max(1, round(HELD_OUT * len(own)))] if len(own) > 1 else own[:0]
        held_out.append(free[:wanted])
    chosen = np.concatenate(held_out)
    if not len(chosen):
        raise UserError("each class has one image only; none can be held out to validate on")
    return index[~np.isin(index, chosen)], chosen


def left_out(labels: np.ndarray, index: np.ndarray, seed: int) -> np.ndarray:
    """Choose images outside a subset: of each class a tenth of the subset's largest class, or all there are.

    Args:
        labels: int64 (N,).
        index: int64 (n,), positions of the subset.
        seed: chooses the images.

    Returns:
        Positions, int64.

    Raises:
        UserError: fewer than half of the classes have an image outside the subset.
    """
    wanted = max(1, round(HELD_OUT * int(np.bincount(labels[index]).max())))
    outside = np.setdiff1d(np.arange(len(labels)), index, assume_unique=True)
    shuffled = np.random.default_rng([seed, _LEFT_OUT_STREAM]).permutation(outside)
    by_class = shuffled[labels[shuffled].argsort(kind="stable")]
    counts = np.bincount(labels[by_class], minlength=int(labels.max()) + 1)
    rank = np.arange(len(by_class)) - np.repeat(counts.cumsum() - counts, counts)
    if 2 * np.count_nonzero(counts) < len(counts):
        raise UserError(
            f"{np.count_nonzero(counts)} of {len(counts)} classes have training images that the backbone "
            "never saw, too few to choose hyper-parameters on; add --selection validation"
        )
    chosen: np.ndarray = by_class[rank < wanted]
    return chosen


def _subset_counts(
    available: np.ndarray,
    imbalance: Imbalance,
    ratio: float,
    max_class_size: int | None,
    class_order: Sequence[int] | np.ndarray | None,
    class_names: Sequence[str] | None,
) -> np.ndarray:
    largest = int(available.max())
    if max_class_size is not None and not 1 <= max_class_size <= largest:
        raise UserError(f"max_class_size {max_class_size} must be 1 to {largest}, the largest class there is")
    targets = long_tailed_counts(len(available), max_class_size or largest, imbalance, ratio)
    if class_order is None:
        order = np.argsort(-available, kind="stable")
    else:
        order = np.asarray(class_order)
        if not np.array_equal(np.sort(order), np.arange(len(available))):
            raise UserError(
                f"a class order must name each of the classes 0 to {len(available) - 1} once, got "
                f"{order.tolist()}"
            )
    counts = np.empty(len(available), dtype=np.int64)
    counts[order] = targets
    short = np.flatnonzero(counts > available)
    if len(short) and class_order is not None and imbalance != "none":
        name = f"class {short[0]}" if class_names is None else f"class {class_names[short[0]]!r}"
        raise UserError(
            f"{name} has {available[short[0]]} training images, {counts[short[0]]} are wanted; leave the "
            "class order away (classes then keep the order of their sizes) or take a smaller max_class_size"
        )
    possible: np.ndarray = np.minimum(counts, available)
    return possible


def checked_labels(labels: np.ndarray | Sequence[int]) -> np.ndarray:
    """Labels (n,) as int64.

    Raises:
        UserError: not whole numbers, or not 0..C-1, each at least once.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
        raise UserError(f"labels must be a list of whole numbers, got {array.dtype} {array.shape}")
    found = np.unique(array)
    if not np.array_equal(found, np.arange(len(found))):
        raise UserError(
            f"labels must be 0 to C-1, each at least once; found {len(found)} values from {found[0]} to "
            f"{found[-1]}"
        )
    return array.astype(np.int64)


def _checked_seed(seed: int) -> int:
    if not 0 <= seed < 2**32:
        raise UserError(f"the seed of a subset must be 0 to {2**32 - 1}, got {seed}")
    return seed


def class_order(
    kind: ClassOrder,
    num_classes: int,
    *,
    order_seed: int = 0,
    run_seed: int = 0,
    positions: int = 0,
) -> np.ndarray:
    """Which class is the largest, the second largest, and so on.

    "permuted" is a random order, each seed's own; or, with S positions, shifts of one random order,
    cyclically by round(s C / S), where s is the run's seed modulo S, so that over S consecutive seeds each
    class visits head and tail. A gain at the tail is then not the gain on one class.

    Args:
        kind: "identity" (class 0 is the largest, as in LDAM-DRW) or "permuted".
        num_classes: C.
        order_seed: draws the random orders, not negative.
        run_seed: s; the same for all methods that are compared.
        positions: S; 0: each seed has an order of its own.

    Returns:
        int64 (C,): the class at position i gets the i-th largest count.

    Raises:
        UserError: unknown kind, a negative order seed, or a negative number of positions.
    """  # noqa: DOC501
    if kind not in get_args(ClassOrder):
        raise unknown("class order", kind, get_args(ClassOrder))
    if order_seed < 0 or positions < 0:
        raise UserError(f"order_seed and positions must not be negative, got {order_seed} and {positions}")
    if kind == "identity":
        return np.arange(num_classes, dtype=np.int64)
    if positions == 0:
        own: np.ndarray = np.random.default_rng([order_seed, run_seed]).permutation(num_classes)
        return own.astype(np.int64)
    order = np.random.default_rng(order_seed).permutation(num_classes).astype(np.int64)
    return np.roll(order, round((run_seed % positions) * num_classes / positions))


def head_and_tail_groups(
    counts: Sequence[int] | np.ndarray,
    thresholds: tuple[int, int] | None = None,
    imbalance: Imbalance = "exp",
) -> np.ndarray:
    """Whether each class has many, a medium number of, or few training images.

    Thresholds (many, few): many n > thresholds[0], few n < thresholds[1]; (100, 20) is the usual choice for
    CIFAR-100-LT, ImageNet-LT and iNaturalist (Liu et al., CVPR 2019). Without them, with rho = n_max / n_min:
    many n > n_max rho^(-1/3), few n < n_max rho^(-2/3); classes of equal size are one group, "medium". Step
    imbalance has two groups, many n > n_max rho^(-1/2) and few; thresholds do not apply to it.

    Args:
        counts: training images of each class, (C,), each at least 1.
        thresholds: of the data set; None: from rho.
        imbalance: the shape of the class sizes.

    Returns:
        int64 (C,), positions in `GROUP_NAMES`: 0 many, 1 medium, 2 few.

    Raises:
        UserError: a class without images, unknown imbalance, or thresholds in the wrong order.
    """  # noqa: DOC501
    if imbalance not in get_args(Imbalance):
        raise unknown("imbalance", imbalance, get_args(Imbalance))
    sizes = np.asarray(counts, dtype=np.float64)
    if sizes.ndim != 1 or not len(sizes) or sizes.min() < 1:
        raise UserError("groups need the counts of at least one class, each at least 1")
    if thresholds is not None and thresholds[0] < thresholds[1]:
        raise UserError(f"group thresholds must be (many, few) with many >= few, got {thresholds}")
    largest, rho = sizes.max(), sizes.max() / sizes.min()
    if imbalance == "step" and rho > 1:
        return np.where(sizes > largest * rho**-0.5, 0, 2)
    many, few = thresholds or (largest * rho ** (-1 / 3), largest * rho ** (-2 / 3))
    return np.where(sizes > many, 0, np.where(sizes < few, 2, 1))
