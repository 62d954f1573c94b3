"""Time the few-shot heads against the ways that are usual, on random embeddings.

    python benchmarks/speed/heads.py            # the SVM and ridge heads, all settings
    python benchmarks/speed/heads.py --setting 5w5s --runs 21

SVM: ours against qpth (MetaOptNet's solver, 15 iterations; only where qpth can be imported) on the same
batch of episodes. Ridge: ours against an explicit inverse of the full kernel, the shortest way to write it.
All candidates of a line run in turn in one process on one thread; the table gives the median, the quartiles
and the ratio of medians. Before anything is timed, the results are compared, in double.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sla_bench.learners.base import FewShotHead
from sla_bench.learners.ridge import RidgeHead
from sla_bench.learners.svm import SVMHead

SETTINGS = {"5w1s": (5, 1), "5w5s": (5, 5), "5w15s": (5, 15), "20w5s": (20, 5)}
Episodes = tuple[Tensor, ...]
Head = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def inverse_ridge(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    """Ridge regression with the inverse of the whole n x n system."""
    one_hot = torch.nn.functional.one_hot(labels, ways).to(support)
    kernel = support @ support.mT + 50.0 * torch.eye(support.shape[1]).to(support)
    return 2 * (query @ support.mT) @ torch.linalg.inv(kernel) @ one_hot


def qpth_svm(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    """The same dual as one dense quadratic programme with n k variables for qpth.

    Variables are sorted by point, then class; C = 0.1, Hessian (K + I) per class, 15 iterations.
    """
    from qpth.qp import QPFunction

    episodes, size, _ = support.shape
    one_hot = torch.nn.functional.one_hot(labels, ways).to(support)
    classes = torch.eye(ways).to(support)
    kernel = support @ support.mT + torch.eye(size).to(support)
    hessian = torch.einsum("eij,ab->eiajb", kernel, classes).reshape(episodes, size * ways, size * ways)
    flat = one_hot.reshape(episodes, size * ways)
    inequality = torch.eye(size * ways).to(support).expand_as(hessian)
    equality = torch.eye(size).to(support).repeat_interleave(ways, 1).expand(episodes, -1, -1)
    zeros = torch.zeros(episodes, size).to(support)
    solver = QPFunction(verbose=-1, maxIter=15)
    alpha = solver(hessian, -flat, inequality, 0.1 * flat, equality, zeros).view(episodes, size, ways)
    return (query @ support.mT) @ alpha


def episodes(ways: int, shots: int, queries: int, args: argparse.Namespace) -> Episodes:
    """Random embeddings: support, labels, query, and a gradient of the logits."""
    generator = torch.Generator().manual_seed(args.seed)
    size = ways * shots
    support = torch.randn(args.episodes, size, args.features, generator=generator)
    query = torch.randn(args.episodes, queries, args.features, generator=generator)
    labels = (torch.arange(size) % ways).expand(args.episodes, -1).contiguous()
    grad = torch.randn(args.episodes, queries, ways, generator=generator)
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


def compare(heads: dict[str, Head], data: Episodes, ways: int, tolerance: tuple[float, float]) -> None:
    """Stop unless all heads agree on logits and gradients, relative to the largest; a tolerance for each."""
    results = {name: run(head, data, ways, True) for name, head in heads.items()}
    first = results[next(iter(results))]
    for name, values in results.items():
        for what, value, reference in zip(
            ("logits", "support gradient", "query gradient"), values, first, strict=True
        ):
            error = float((value - reference).abs().max() / reference.abs().max())
            allowed = tolerance[0 if what == "logits" else 1]
            if not error <= allowed:
                raise SystemExit(f"{name}: {what} differs by {error:.1e}, allowed {allowed:.0e}")


def measure(
    heads: dict[str, Head], data: Episodes, ways: int, backward: bool, runs: int
) -> dict[str, np.ndarray]:
    """Milliseconds of each run, candidates in turn; a candidate above 5 s a run gets at most two."""
    times: dict[str, list[float]] = {name: [] for name in heads}
    for _ in range(runs):
        for name, head in heads.items():
            if len(times[name]) >= 2 and max(times[name]) > 5e3:
                continue
            start = time.perf_counter()
            run(head, data, ways, backward)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in times.items()}


def candidates(kind: str) -> dict[str, Head]:
    """Our head first, then the others."""
    if kind == "ridge":
        return {"ours": RidgeHead(), "inverse": inverse_ridge}
    heads: dict[str, FewShotHead | Head] = {"ours": SVMHead()}
    try:
        import qpth.qp  # noqa: F401
    except ImportError:
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
    parser.add_argument("--queries", type=int, default=6, help="queries per class (6)")
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
            data = episodes(ways, shots, ways * args.queries, args)
            # In double and on one episode; after 15 iterations qpth's gradient is good to some percent only.
            one = tuple(part[:1].double() if part.is_floating_point() else part[:1] for part in data)
            compare(heads, one, ways, (1e-3, 5e-2) if kind == "svm" else (1e-8, 1e-8))
            for backward in (False, True):
                times = measure(heads, data, ways, backward, args.runs)
                ours = np.median(times["ours"])
                for name, values in times.items():
                    low, median, high = np.percentile(values, [25, 50, 75])
                    label = "forward+backward" if backward else "forward"
                    quartiles = f"{low:.2f}-{high:.2f}"
                    print(
                        f"{kind:6} {setting:7} {label:16} {name:9} {median:10.2f} {quartiles:>19} "
                        f"{median / ours:6.2f}x",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
