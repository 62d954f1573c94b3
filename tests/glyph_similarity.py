"""How much shapes look like each other and like their quarter turns."""

import numpy as np


def turned_similarity(shapes):
    """Normalised cross-correlation of every shape with every quarter turn of every shape.

    Shapes are compared at about the size at which they are drawn (half that of their canvas) and at the best
    of the nine displacements by up to one pixel there.

    Args:
        shapes: (K, S, S), one picture of each class, S even.

    Returns:
        float (4, K, K) in [-1, 1]; [k, i, j] compares shape i with shape j turned k times by 90 degrees
        counter-clockwise. [2, i, j] = [2, j, i] and [1, i, j] = [3, j, i].
    """
    count, side = len(shapes), shapes.shape[1] // 2
    small = shapes.reshape(count, side, 2, side, 2).mean(axis=(2, 4))
    padded = np.pad(small, ((0, 0), (1, 1), (1, 1)))
    moved = [np.roll(padded, (y, x), axis=(1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    vectors = [_normalised(shape) for shape in moved]
    similarity = np.empty((4, count, count))
    for turns in range(4):
        turned = _normalised(np.rot90(padded, turns, axes=(1, 2)))
        similarity[turns] = np.max([v @ turned.T for v in vectors], axis=0)
    return similarity


def _normalised(shapes):
    vectors = shapes.reshape(len(shapes), -1)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
