"""Time the few-shot heads against the usual implementations, on random embeddings.

    python benchmarks/speed/heads.py            # the SVM and ridge heads, all settings
    python benchmarks/speed/heads.py --setting 5w5s --runs 21

SVM: ours against qpth (MetaOptNet's solver, 15 iterations; only where qpth can be imported) on the same
batch of episodes. Ridge: ours against an explicit inverse of the full kernel, the shortest way to write it.
All candidates of a line run in turn in one process on one thread; the table gives the median, the quartiles
and the ratio of medians. Before anything is timed, the results are compared, in double.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.peer_comparison.topics import missing_peers
from benchmarks.speed.timing import Candidate, interleaved, quartiles
from sla_bench.models.heads.base import FewShotHead
from sla_bench.models.heads.ridge import RidgeHead
from sla_bench.models.heads.svm import SVMHead

SETTINGS = {"5w1s": (5, 1), "5w5s": (5, 5), "5w15s": (5, 15), "20w5s": (20, 5)}
QUERIES = 6
# Of logits and gradients; after 15 iterations qpth's gradient is good to some percent only.
TOLERANCES = {"svm": (1e-3, 5e-2), "ridge": (1e-8, 1e-8)}
# Seconds after which a candidate is not run again.
SLOW = 10.0
Episodes = tuple[Tensor, ...]
Head = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def inverse_ridge(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    """Ridge regression with the inverse of the whole n x n system."""
    one_hot = torch.nn.functional.one_hot(labels, ways).to(support)
    kernel = support @ support.mT + 50.0 * torch.eye(support.shape[1]).to(support)
    return 2 * (query @ support.mT) @ torch.linalg.inv(kernel) @ one_hot


def qpth_svm(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    """MetaOptNet's SVM: the same dual as one dense quadratic programme with n k variables for qpth.

    C = 0.1, Hessian (K + I) per class, 15 iterations.
    """
    from qpth.qp import QPFunction

    episodes, size, _ = support.shape
    hessian, one_hot = _block_dual(support, labels, ways, diagonal=1.0)
    inequality = torch.eye(size * ways).to(support).expand_as(hessian)
    equality = torch.eye(size).to(support).repeat_interleave(ways, 1).expand(episodes, -1, -1)
    zeros = torch.zeros(episodes, size).to(support)
    solver = QPFunction(verbose=-1, maxIter=15)
    alpha = solver(hessian, -one_hot, inequality, 0.1 * one_hot, equality, zeros)
    return (query @ support.mT) @ alpha.view(episodes, size, ways)


def qpth_ridge(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    """MetaOptNet's ridge regression: a quadratic programme whose only constraints are 0 <= 0."""
    from qpth.qp import QPFunction

    hessian, one_hot = _block_dual(support, labels, ways, diagonal=50.0)
    nothing = torch.empty(0).to(support)
    solver = QPFunction(verbose=-1)
    alpha = solver(
        hessian, -2 * one_hot, torch.zeros_like(hessian), torch.zeros_like(one_hot), nothing, nothing
    )
    return (query @ support.mT) @ alpha.view(*support.shape[:2], ways)


def _block_dual(support: Tensor, labels: Tensor, ways: int, diagonal: float) -> tuple[Tensor, Tensor]:
    """Hessian (E, n k, n k) with K + diagonal I for each class, one-hot labels (E, n k), by point."""
    episodes, size, _ = support.shape
    kernel = support @ support.mT + diagonal * torch.eye(size).to(support)
    hessian = torch.einsum("eij,ab->eiajb", kernel, torch.eye(ways).to(support))
    one_hot = torch.nn.functional.one_hot(labels, ways).to(support)
    return hessian.reshape(episodes, size * ways, size * ways), one_hot.flatten(1)


def learn2learn_svm(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    """The SVM of learn2learn, which takes one task at a time and solves it by qpth."""
    with contextlib.redirect_stderr(io.StringIO()):
        from learn2learn.nn import SVClassifier

    logits = []
    with _default_type(support.dtype):
        for points, own, asked in zip(support, labels, query, strict=True):
            head = SVClassifier(C_reg=0.1, max_iters=15)
            head.fit_(points, own, ways)
            logits.append(head(asked))
    return torch.stack(logits)


@contextlib.contextmanager
def _default_type(dtype: torch.dtype) -> Iterator[None]:
    """Learn2learn makes its constants in torch's default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def episodes(
    ways: int, shots: int, count: int = 8, features: int = 2560, queries: int = QUERIES, seed: int = 0
) -> Episodes:
    """Random embeddings with some queries per class: support, labels, query, and a gradient of the logits."""
    generator = torch.Generator().manual_seed(seed)
    size, queries = ways * shots, ways * queries
    support = torch.randn(count, size, features, generator=generator)
    query = torch.randn(count, queries, features, generator=generator)
    labels = (torch.arange(size) % ways).expand(count, -1).contiguous()
    grad = torch.randn(count, queries, ways, generator=generator)
    return support, labels, query, grad


def run(head: Head, data: Episodes, ways: int, backward: bool) -> list[Tensor]:
    """Logits and, with `backward`, the gradients of support and query."""
    support, labels, query, grad = data
    if not backward:
        with torch.no_grad():
            return [head(support, labels, query, ways)]
    support, query = support.clone().requires_grad_(), query.clone().requires_grad_()
    logits = head(support, labels, query, ways)
    return [logits.detach(), *torch.autograd.grad(logits, (support, query), grad)]


def compare(heads: dict[str, Head], data: Episodes, ways: int, kind: str) -> dict[str, float]:
    """Stop unless all heads agree with the first on logits and gradients, in double and on one episode.

    Returns:
        Name -> largest difference of the logits, relative to the largest logit.

    Raises:
        SystemExit: a head differs.
    """
    one = tuple(part[:1].double() if part.is_floating_point() else part[:1] for part in data)
    results = {name: run(head, one, ways, True) for name, head in heads.items()}
    first = results[next(iter(results))]
    differences = {}
    for name, values in results.items():
        errors = [float((v - r).abs().max() / r.abs().max()) for v, r in zip(values, first, strict=True)]
        differences[name] = errors[0]
        for what, error in zip(("logits", "support gradient", "query gradient"), errors, strict=True):
            allowed = TOLERANCES[kind][0 if what == "logits" else 1]
            if not error <= allowed:
                raise SystemExit(f"{name}: {what} differs by {error:.1e}, allowed {allowed:.0e}")
    return differences


def timed(head: Head, data: Episodes, ways: int, backward: bool) -> Candidate:
    """One pass after the other over all episodes."""

    def once() -> int:
        run(head, data, ways, backward)
        return 1

    return once


def candidates(kind: str) -> dict[str, Head]:
    """Our head first, then the others."""
    if kind == "ridge":
        return {"ours": RidgeHead(), "inverse": inverse_ridge}
    heads: dict[str, FewShotHead | Head] = {"ours": SVMHead()}
    if "qpth" in missing_peers():
        print("svm: qpth is not installed, timed alone (pip install --no-deps qpth; pip install cvxpy)")
    else:
        heads["qpth"] = qpth_svm
    return heads


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--head", action="append", choices=["svm", "ridge"], help="default: both")
    parser.add_argument("--setting", action="append", choices=list(SETTINGS), help="default: all")
    parser.add_argument("--episodes", type=int, default=8, help="episodes in a batch (8)")
    parser.add_argument("--features", type=int, default=2560, help="length of an embedding (2560)")
    parser.add_argument("--queries", type=int, default=QUERIES, help="queries per class (6)")
    parser.add_argument("--runs", type=int, default=11, help="runs of each candidate (11)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {args.episodes} episodes, {args.features} features, float32")
    print(
        f"{'head':6} {'setting':7} {'pass':16} {'candidate':9} {'median ms':>10} {'quartiles':>19} "
        f"{'ratio':>7}"
    )
    for kind in args.head or ["svm", "ridge"]:
        heads = candidates(kind)
        for setting in args.setting or SETTINGS:
            ways, shots = SETTINGS[setting]
            data = episodes(ways, shots, args.episodes, args.features, args.queries, args.seed)
            compare(heads, data, ways, kind)
            for backward in (False, True):
                runs = {name: timed(head, data, ways, backward) for name, head in heads.items()}
                times = interleaved(runs, args.runs, limit=SLOW)
                ours = np.median(times["ours"])
                for name, values in times.items():
                    low, median, high = quartiles(values)
                    label = "forward+backward" if backward else "forward"
                    spread = f"{low:.2f}-{high:.2f}"
                    print(
                        f"{kind:6} {setting:7} {label:16} {name:9} {median:10.2f} {spread:>19} "
                        f"{median / ours:6.2f}x",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
