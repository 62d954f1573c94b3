"""`advise`: the method that suits a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sla_bench.cli.options import NO_DATA, Data


def advise(
    dataset: str,
    *,
    data: Annotated[Data, Parameter(name="*")] = NO_DATA,
    backbone: str = "pretrained:lite0",
    weights: str | None = None,
    transform: str = "rotation",
    seed: int = 0,
    page: Path = Path("advice.html"),
    device: str = "auto",
) -> int:
    """Compare plain, flips, turns and SLA on a folder of pictures, and recommend one; nothing is trained.

    Half of the pictures choose the method, the other half measures its gain. Features are kept, so the same
    command takes seconds the second time.

    Parameters
    ----------
    dataset: str
        folder:PATH, a folder with a folder of pictures for each class; folder:PATH:SIZE keeps SIZE px.
    backbone: str
        Network with pretrained weights.
    weights: str
        Weights of the network: default, or a file.
    transform: str
        Views of turns and SLA.
    seed: int
        Deals the pictures to the two halves and their groups.
    page: Path
        The page with the result; - is the standard output.
    device: str
        auto, cpu, cuda or cuda:0.
    """
    import torch

    from sla_bench.data.folder_names import canonical_dataset
    from sla_bench.data.preparation import note, terminal_progress
    from sla_bench.data.sources import available_cores
    from sla_bench.errors import whole_number
    from sla_bench.records.files import check_output, words_beside, write_output
    from sla_bench.records.jobs import pick_device
    from sla_bench.registry import DATASETS, TRANSFORMS
    from sla_bench.scenarios.advice import measure, verdict
    from sla_bench.tables.report.advice import advice_page, advice_table

    name = canonical_dataset(DATASETS.check(dataset), {})
    TRANSFORMS.check(transform)
    whole_number("advise", "--seed", seed, 0)
    check_output(page, "--page")
    torch.set_num_threads(available_cores())
    with terminal_progress("embedding pictures and their views") as progress:
        found = measure(
            name, data.data_root, backbone, weights, transform, seed, pick_device(device), progress
        )
    for line in found.remarks:
        note(line)
    words = words_beside(page)
    for line in [*advice_table(found), *verdict(found)]:
        print(line, file=words)
    content = advice_page(found).encode()
    write_output(page, lambda file: file.write(content))
    print(f"{page}: the same as a page", file=words)
    return 0
