"""The contract of transforms."""

from __future__ import annotations

import torch
from torch import Tensor

from sla_bench.contracts.checks import Checks, Note, difference, first_problem, shape_problem
from sla_bench.views.transforms import Transform

_IMAGES, _SIZE = 4, 8
_SHAPE = (_IMAGES, 3, _SIZE, _SIZE)


def transform_checks(transform: Transform) -> Checks:
    """The checks of a transform, on drawn images."""
    contract = _TransformContract(transform)
    return {
        "views are (images, M, channels, height, width), M at least 2, and finite": contract.shapes,
        "view 0 is the image as it is": contract.identity,
        "the images given are not changed": contract.leaves_images,
        "gives the same views again": contract.repeats,
        "each image is transformed by itself": contract.images_alone,
        "no two views are the same": contract.differ,
        "single views are those of all views": contract.single_views,
        "channels_last gives the same views": contract.channels_last,
        "views keep the pixel values of an image": contract.pixels,
    }


class _TransformContract:
    def __init__(self, transform: Transform) -> None:
        self.transform = transform
        self.images = torch.randn(_SHAPE, generator=torch.Generator().manual_seed(0))

    @property
    def views(self) -> Tensor:
        return self.transform.views(self.images.clone())

    def shapes(self) -> str | None:
        count = self.transform.num_views
        if not isinstance(count, int) or count < 2:
            return f"num_views is {count!r}"
        return shape_problem(self.views, (_IMAGES, count, *_SHAPE[1:]), "views")

    def identity(self) -> str | None:
        return difference(self.views[:, 0], self.images, "view 0 and the image", 0.0)

    def leaves_images(self) -> str | None:
        given = self.images.clone()
        self.transform.views(given)
        return difference(given, self.images, "the images before and after", 0.0)

    def repeats(self) -> str | None:
        return difference(self.views, self.views, "views", 0.0)

    def images_alone(self) -> str | None:
        alone = torch.cat([self.transform.views(one.clone()) for one in self.images.split(1)])
        return difference(alone, self.views, "views of single images", 0.0)

    def differ(self) -> str | None:
        views = self.views
        count = views.shape[1]
        pairs = ((i, j) for j in range(count) for i in range(j))
        same = next(((i, j) for i, j in pairs if torch.equal(views[:, i], views[:, j])), None)
        return None if same is None else f"views {same[0]} and {same[1]} are"

    def single_views(self) -> str | None:
        views, which = self.views, torch.arange(_IMAGES) % self.transform.num_views
        applied = self.transform.apply(self.images.clone(), which)
        chosen = [self.transform.view(self.images.clone(), j) for j in range(self.transform.num_views)]
        return first_problem(
            difference(applied, views[torch.arange(_IMAGES), which], "apply() and views()", 0.0),
            difference(torch.stack(chosen, dim=1), views, "view() and views()", 0.0),
        )

    def channels_last(self) -> str | None:
        images = self.images.contiguous(memory_format=torch.channels_last)
        return difference(self.transform.views(images), self.views, "views", 0.0)

    def pixels(self) -> str | None:
        sorted_values = self.views.flatten(2).sort(dim=2).values
        changed = (sorted_values != sorted_values[:, :1]).any(2).any(0)
        if not bool(changed.any()):
            return None
        return Note(f"view {int(changed.nonzero()[0])} has values that the image lacks")
