"""How records of classifiers trained on imbalanced classes are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sla_bench.config import EvalConfig, FromDataset, ImbalancedRun, RunConfig
from sla_bench.data.named import dataset_named
from sla_bench.grids.tasks import fields_with
from sla_bench.records.store import Store
from sla_bench.scenarios.classify.imbalanced_form import usual_subset_seed
from sla_bench.tables.classifier_reading import ClassifierReading
from sla_bench.tables.reading import PrimaryContrast, Row, SettingAxis

if TYPE_CHECKING:
    import matplotlib.figure

    from sla_bench.tables.class_results import TrainingClasses


class ImbalancedReading(ClassifierReading):
    """Accuracy per balanced test image; recall of class groups, F1, G-mean and calibration per seed."""

    primaries = (
        PrimaryContrast(" ratio 100", "ce", "SLA+SD", "baseline-xM"),
        PrimaryContrast("exp ratio 100", "ce", "SLA+AG", "ens-M", "cifar100"),
    )
    axis = SettingAxis("Imbalance ratio", r"\bratio (\S+)", "gains_by_ratio")
    length = "epochs"
    # The code behind the published tables keeps the best epoch on the test images.
    published_training: ClassVar = {
        "budget": "paper",
        "selection": "best-test",
        "transform": "rotation",
        "precision": "fp32",
        "sampler": "uniform",
    }
    validates = False
    elsewhere = frozenset({"subset_seed", "order_shifts"})

    def setting(self, run: RunConfig, test: EvalConfig) -> str:
        """As in "exp ratio 100"; "as it is" for data that are used so."""
        del test
        assert isinstance(run, ImbalancedRun)
        if run.imbalance == "none":
            return "as it is"
        return f"{run.imbalance} ratio {run.ratio:g}"

    def learner(self, run: RunConfig) -> str:
        """The loss."""
        assert isinstance(run, ImbalancedRun)
        return run.loss

    def sampler(self, run: RunConfig) -> str:
        """How training images are drawn."""
        assert isinstance(run, ImbalancedRun)
        return run.sampler

    def selection(self, run: RunConfig) -> str:
        """Which weights are tested."""
        assert isinstance(run, ImbalancedRun)
        return run.selection

    def departures(self, run: RunConfig, test: EvalConfig, recipe: Mapping[str, Any]) -> list[str]:
        """What the data set would have otherwise, and the reduction of the joint loss."""
        del test
        assert isinstance(run, ImbalancedRun)
        dataset = dataset_named(run.dataset)
        found = []
        for name in fields_with(type(run), FromDataset):
            if name != "imbalance" and run.imbalance != "none":
                usual = recipe.get(name, getattr(dataset, name))
                found += [f"{name}={getattr(run, name)}"] if getattr(run, name) != usual else []
        if run.subset_seed != usual_subset_seed(run):
            found.append(f"subset_seed={run.subset_seed}")
        if run.class_order == "permuted" and run.order_shifts != recipe["order_shifts"]:
            found.append(f"order_shifts={run.order_shifts}")
        for name in ("order_seed", "loss_reduction"):
            value = getattr(run, name)
            found += [f"{name}={value}"] if value != ImbalancedRun.model_fields[name].default else []
        return found

    def notes(self, rows: Sequence[Row]) -> list[str]:
        """Selection on the test images flatters."""
        found = super().notes(rows)
        if all(row["selection"] != "best-test" for row in rows):
            return found
        sentence = (
            "Selection best-test: the weights were chosen on the test images, as some published code does; "
            "these accuracies are too high."
        )
        return [*found, sentence]

    def pictures(self, store: Store) -> dict[str, matplotlib.figure.Figure | None]:
        """Class sizes, accuracy against class size, confusions."""
        from sla_bench.tables.class_results import class_results
        from sla_bench.tables.figures import classes
        from sla_bench.tables.shown_records import shown_records

        results = class_results(shown_records(store))
        sizes: dict[str, TrainingClasses] = {}
        for result in results:
            sizes.setdefault(f"{result.dataset}, {result.setting}", result.all_classes or result.classes)
        return {
            "class_sizes": classes.class_counts_figure(sizes),
            "class_accuracies": classes.class_accuracy_figure(results),
            "confusions": classes.confusions_figure(results),
        }


READING = ImbalancedReading()
