"""Stage two of imbalanced runs: rows, images, refusals."""

import numpy as np
import pytest
import torch
from spanned import tasks_of
from test_imbalanced import task, trained

from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.grids.tasks import evaluation_of
from sla_bench.registry import STAGE_TWO
from sla_bench.scenarios.base import Shared
from sla_bench.scenarios.classify.presets import IMBALANCED, long_tail

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("method", "loss", "row"),
    [("sla", "ce", "SLA+SI"), ("sla+sd", "ldam", "SLA+SD"), ("baseline", "ce", "baseline")],
)
def test_every_head_gives_one_row_of_one_pass(method, loss, row, data_root):
    run, evaluation, training = trained(data_root, method=[method], loss=[loss])
    plain = IMBALANCED.evaluate(run, evaluation, training.state, data_root, CPU)
    for name in STAGE_TWO:
        test = evaluation.model_copy(update={"stage_two": name})
        found = IMBALANCED.evaluate(run, test, training.state, data_root, CPU)
        ((own, metrics),) = found.metrics.items()
        assert own == f"{row}, {STAGE_TWO.load(name).label}"
        assert (metrics["query_passes"], metrics["shown"]) == (1, True)
        assert metrics["hyper_parameters"] in STAGE_TWO.load(name)().candidates
        assert np.array_equal(found.samples["labels"], plain.samples["labels"])
        again = IMBALANCED.evaluate(run, test, training.state, data_root, CPU)
        assert np.array_equal(again.samples[f"nll/{own}"], found.samples[f"nll/{own}"])
        if (name, loss) == ("tau-norm", "ldam"):
            # Cosines have no lengths: every tau is the plain head.
            predictions = [of.samples[f"predictions/{r}"] for of, r in ((plain, row), (found, own))]
            assert np.array_equal(*predictions)


def test_heads_of_one_training_embed_its_images_once(data_root, images_read):
    run, evaluation, training = trained(data_root, method=["sla"])
    shared, found, read = Shared(), {}, {}
    for name in ("crt", "ncm", "los"):
        test = evaluation.model_copy(update={"stage_two": name})
        images_read.clear()
        found[name] = IMBALANCED.evaluate(run, test, training.state, data_root, CPU, shared=shared)
        read[name] = sum(images_read)
        alone = IMBALANCED.evaluate(run, test, training.state, data_root, CPU)
        for key, values in alone.samples.items():
            assert np.array_equal(found[name].samples[key], values)
    parts = (
        IMBALANCED.split(run, long_tail(run, data_root)).train,
        IMBALANCED.unseen(run, long_tail(run, data_root)),
    )
    images = sum(len(part.index) for part in parts) + len(found["crt"].samples["labels"])
    assert read == {"crt": images, "ncm": 0, "los": 0}
    # Other images of the test are other embeddings.
    fewer = evaluation.model_copy(update={"stage_two": "ncm", "images_per_class": 1})
    assert (
        len(IMBALANCED.evaluate(run, fewer, training.state, data_root, CPU, shared=shared).samples["labels"])
        == 10
    )


def test_lengths_of_joint_labels_are_those_of_the_upright_view():
    run, _ = task(method=["sla"])
    model = IMBALANCED.build_model(run, dataset_named("cifar10"), np.arange(1, 11), "rotation", 0)
    weights = model.objective.joint_head.weight
    expected = torch.stack([weights[k * 4].norm() for k in range(10)])
    torch.testing.assert_close(model.objective.class_norms(), expected.detach())


@pytest.mark.parametrize("selection", ["last", "validation"])
def test_hyper_parameters_are_chosen_on_training_images_that_the_backbone_never_saw(selection, data_root):
    run, _ = task(selection=selection)
    chosen = long_tail(run, data_root)
    unseen = IMBALANCED.unseen(run, chosen)
    assert not set(unseen.index) & set(IMBALANCED.split(run, chosen).train.index)
    assert len(unseen.index)
    # Positions in the training split: no test image can be among them.
    assert unseen.images is chosen.images


def runs(settings=(), **given):
    return tasks_of("imbalanced", settings, dataset=["cifar10"], **given)


def test_heads_are_further_tests_of_the_same_training():
    plain = runs(method=["baseline", "sla"])
    both = runs(method=["baseline", "sla"], stage_two=["crt", "tau-norm"])
    assert [one.run for one in both] == [one.run for one in plain]
    assert [e.stage_two for e in both[1].evaluations] == [None, "crt", "tau-norm"]
    assert both[0].evaluations[0].digest() == plain[0].evaluations[0].digest()
    assert evaluation_of(both[0].run, {"stage_two": "lws"}, ()).evaluations[0].stage_two == "lws"


def test_what_has_no_stage_two_is_refused_in_one_sentence():
    with pytest.raises(UserError, match="'ens-M' averages several networks, a stage-two head needs one"):
        runs(method=["ens-M"], stage_two=["crt"])
    assert len(runs(method=["controls"], stage_two=["crt"])) > 1
    with pytest.raises(UserError, match="best-test makes the test images its validation images"):
        runs(method=["sla"], selection="best-test", stage_two=["crt"])
    with pytest.raises(
        UserError, match="none is left to choose hyper-parameters; add --selection validation"
    ):
        runs(method=["sla"], imbalance="none", budget="paper", stage_two=["crt"])
    with pytest.raises(UserError, match="none is left"):
        runs(method=["sla"], ratio=[1.0], budget="paper", stage_two=["crt"])
    assert runs(method=["sla"], imbalance="none", stage_two=["crt"], selection="validation")
    with pytest.raises(UserError, match="unknown stage-two head 'crd'; did you mean 'crt'"):
        runs(method=["sla"], stage_two=["crd"])
    (run,) = tasks_of("fewshot", method=["sla"])
    with pytest.raises(UserError, match="--stage-two: an evaluation of fewshot has no such option"):
        evaluation_of(run.run, {"stage_two": "crt"}, ())
