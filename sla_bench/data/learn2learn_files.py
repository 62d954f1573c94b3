"""`learn2learn:NAME`: few-shot data sets, read from learn2learn's places."""

# The data root is learn2learn's `root`. Our own readers read the files, so learn2learn need not be
# installed, and pickles are read by the restricted unpickler: learn2learn's classes unpickle any content of
# a file, as do the `*-bookkeeping-*.pkl` files that its `MetaDataset` writes beside them, which are not read
# here.

from __future__ import annotations

from dataclasses import replace

from sla_bench.data.cifar100_few_shot import CIFAR_FS, FC100, PROCESSED, R2D2, pickle_layout
from sla_bench.data.class_lists import fc100_labels
from sla_bench.data.layouts import Layout, LayoutDataset
from sla_bench.data.mini_imagenet import CACHE, MINI_IMAGENET
from sla_bench.data.tiered_imagenet import PNG_PICKLES, TIERED_IMAGENET
from sla_bench.errors import unknown

_SOURCE = "https://zenodo.org/record/7978538"


# learn2learn's CIFARFS makes `processed` of the other folder, and prefers it.
_KEPT: dict[str, tuple[LayoutDataset, tuple[Layout, ...]]] = {
    "FC100": (FC100, (pickle_layout("", "FC100", fc100_labels),)),
    "CIFARFS": (
        CIFAR_FS,
        (PROCESSED, replace(R2D2, name=f"cifarfs/ with {R2D2.name}", folders=("cifarfs/cifar100",))),
    ),
    "MiniImagenet": (MINI_IMAGENET, (replace(CACHE, folders=("",)),)),
    "TieredImagenet": (TIERED_IMAGENET, (replace(PNG_PICKLES, folders=("tiered-imagenet",)),)),
}


def learn2learn_files(name: str) -> LayoutDataset:
    """The data set of that name in `learn2learn.vision.datasets`, with the properties of ours.

    Args:
        name: FC100, CIFARFS, MiniImagenet or TieredImagenet.

    Raises:
        UserError: no such data set.
    """  # noqa: DOC501
    if name not in _KEPT:
        raise unknown("data set of learn2learn", name, _KEPT)
    same, layouts = _KEPT[name]
    return replace(
        same,
        name=f"learn2learn:{name}",
        origin=(
            f"nothing is downloaded here: learn2learn.vision.datasets.{name}(root, mode, download=True) "
            f"fetches the files from {_SOURCE} to where they belong, root being this folder"
        ),
        layouts=layouts,
        fetch=None,
    )
