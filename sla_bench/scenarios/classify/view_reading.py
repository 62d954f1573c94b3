"""Reading trained classifiers on every view of the test images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sla_bench.errors import UserError
from sla_bench.objectives.scores import aggregate, own_columns
from sla_bench.scenarios.classify.classifier import ClassifierModel
from sla_bench.scenarios.classify.image_reader import TestImages
from sla_bench.training.loop import Progress, silent

_JOINT_AXES = 4


def read_views(
    test: TestImages, models: Sequence[ClassifierModel], progress: Progress = silent
) -> dict[str, np.ndarray]:
    """Predict the class of every view of every test image by each head, scores averaged over the models.

    Args:
        test: the images.
        models: of one objective, in eval mode.
        progress: told each batch.

    Returns:
        Samples as `sla_bench.evaluation.view_metrics.head_metrics` takes them, int32.

    Raises:
        UserError: the scores are not finite.
    """
    parts: dict[str, list[Tensor]] = {}
    done = 0
    for index in test.chunks():
        features = [test.features(model, index) for model in models]
        with torch.no_grad():
            for name, found in _predictions(models, features).items():
                parts.setdefault(name, []).append(found.cpu())
        done += len(index)
        progress("reading views", done, len(test.index))
    read = {name: torch.cat(chunks).numpy().astype(np.int32) for name, chunks in parts.items()}
    return {"labels": test.labels.astype(np.int32), **read}


def _predictions(models: Sequence[ClassifierModel], features: Sequence[Tensor]) -> dict[str, Tensor]:
    objectives = [model.objective for model in models]
    pairs = list(zip(objectives, features, strict=True))
    by_head = [objective.by_view(of) for objective, of in pairs]
    found = {}
    for head in by_head[0]:
        scores = _mean([heads[head] for heads in by_head])
        if scores.ndim == _JOINT_AXES:
            found[f"joint/{head}"] = scores.flatten(2).argmax(2)
            found[f"classes/{head}"] = own_columns(scores).argmax(2)
            found[f"aggregated/{head}"] = aggregate(scores).argmax(1)
        else:
            found[f"classes/{head}"] = scores.argmax(2)
            found[f"aggregated/{head}"] = scores.mean(1).argmax(1)
    told = [objective.recognised_view(of) for objective, of in pairs]
    if scores_of := [scores for scores in told if scores is not None]:
        found[f"views/{next(iter(by_head[0]))}"] = _mean(scores_of).argmax(2)
    return found


def _mean(scores: Sequence[Tensor]) -> Tensor:
    mean = torch.stack(list(scores)).mean(0)
    if not torch.isfinite(mean).all():
        raise UserError("the model's scores are not finite; its training has diverged")
    return mean
