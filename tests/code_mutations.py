"""Small changes of code, and whether tests notice: mutation testing.

`python tests/code_mutations.py statistics` prints a line for each mutant and, at the end, the counts as JSON.
"""

import argparse
import ast
import contextlib
import copy
import functools
import gc
import importlib
import importlib.abc
import importlib.util
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_SWAPPED = {
    ast.Lt: (ast.LtE, ast.GtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Gt: (ast.GtE, ast.LtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,), ast.Is: (ast.IsNot,), ast.In: (ast.NotIn,), ast.And: (ast.Or,),
    ast.NotEq: (ast.Eq,), ast.IsNot: (ast.Is,), ast.NotIn: (ast.In,), ast.Or: (ast.And,),
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,), ast.Div: (ast.Mult,), ast.Mod: (ast.Mult,), ast.FloorDiv: (ast.Mult,),
    ast.Pow: (ast.Mult,), ast.BitOr: (ast.BitAnd,), ast.BitAnd: (ast.BitOr,),
}  # fmt: skip
_LEFT_ALONE = (ast.Raise, ast.Import, ast.ImportFrom, ast.Assert, ast.Delete, ast.JoinedStr)
_MEMORY = 8 << 30
_INTERRUPTED = 2  # pytest's exit code where a test can't be imported
_OPPOSITES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
_SYMMETRIC = {*_OPPOSITES, "transpose"}


@dataclass(frozen=True)
class Target:
    """Modules of the package, and the tests that should notice changes of them, the quickest first."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


_OBJECTIVES = tuple(
    f"sla_bench.objectives.{path.stem}"
    for path in sorted((ROOT / "sla_bench" / "objectives").glob("*.py"))
    if path.stem != "__init__"
)
_STATISTICS = tuple(
    f"sla_bench.{name}"
    for name in (
        "statistics", "crossed_error", "error_distribution", "equivalence", "sign_flips", "table_statistics",
    )
)  # fmt: skip
_TESTS_OF_STATISTICS = tuple(
    f"tests/test_{name}.py"
    for name in (
        "equivalence", "table_statistics", "crossed_error", "error_distribution", "sign_flips", "statistics",
        "statistics_properties",
    )
)  # fmt: skip
TARGETS = {
    "statistics": Target(_STATISTICS, _TESTS_OF_STATISTICS),
    "label_augmentation": Target(("sla_bench.label_augmentation",), ("tests/test_label_augmentation.py",)),
    "objectives": Target(_OBJECTIVES, ("tests/objectives", "tests/losses/test_joint_counts.py")),
}


@dataclass(frozen=True)
class Mutant:
    """A module with one change: where it is, what was there and what is there now."""

    module: str
    name: str
    tree: ast.Module
    old: ast.AST
    new: ast.AST

    def changed(self):
        """The module with the change."""
        # A copy of the whole takes the new node where it meets the old one.
        return ast.fix_missing_locations(copy.deepcopy(self.tree, {id(self.old): self.new}))


def mutants_of(module, source):
    """All mutants of a module, in the order of its text; annotations, messages and docstrings stay."""
    tree = ast.parse(source)
    found, taken = [], {}
    for where, statement, node in _sites(tree):
        for new in _changes(node):
            if ast.unparse(new) == ast.unparse(node):  # two arguments that are the same
                continue
            written = "nothing" if isinstance(new, ast.Pass) else _short(new, 60)
            name = f"{module.removeprefix('sla_bench.')}.{where}: {_short(node, 60)} -> {written}"
            if isinstance(statement, ast.FunctionDef):
                name += " in a default"
            elif node is not statement:
                name += f" in {_short(statement, 90)}"
            taken[name] = taken.get(name, 0) + 1
            name += f" ({taken[name]})" if taken[name] > 1 else ""
            found.append(Mutant(module, name, tree, node, new))
    return found


def _short(node, most):
    line = " ".join(ast.unparse(node).split())
    return line if len(line) <= most else f"{line[: most // 2]} ... {line[-most // 3 :]}"


def _sites(tree):
    """Expressions and statements that may be changed, with the function and the statement they are in."""
    waiting = [("", None, child) for child in reversed(tree.body)]
    while waiting:
        where, statement, node = waiting.pop()
        statement = node if isinstance(node, ast.stmt) else statement
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".lstrip(".")
            children = [*getattr(getattr(node, "args", None), "defaults", ()), *node.body]
        elif isinstance(node, ast.AnnAssign):
            children = [node.value] if node.value else []
        elif isinstance(node, _LEFT_ALONE) or ast.unparse(getattr(node, "test", node)) == "TYPE_CHECKING":
            children = []
        else:
            yield where or "module", statement, node
            children = list(ast.iter_child_nodes(node))
        waiting += [(where, statement, child) for child in reversed(children)]


def _changes(node):
    """What may stand in place of a node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from (_with(node, ops=[op()]) for op in _SWAPPED[type(node.ops[0])])
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        yield from (_with(node, op=op()) for op in _SWAPPED.get(type(node.op), ()))
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from map(ast.Constant, _other_values(node.value))
    elif isinstance(node, ast.IfExp):
        yield _with(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.Call):
        yield from _changes_of_call(node)
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        first, second, *others = node.value.elts
        yield ast.Return(_with(node.value, elts=[second, first, *others]))
    if _can_go(node):
        yield ast.Pass()


def _other_values(value):
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, value - 1)
    return (value * 2 or 1.0,) if isinstance(value, float) else ()


def _changes_of_call(node):
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if len(node.args) > 1 and name not in _SYMMETRIC:
        yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
    if name in _OPPOSITES:
        field = "attr" if isinstance(node.func, ast.Attribute) else "id"
        yield _with(node, func=_with(node.func, **{field: _OPPOSITES[name]}))
    if isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
        yield node.func.value


def _can_go(node):
    """Statements without which the rest still makes sense: a name that is bound is used later on."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        return not any(isinstance(n, ast.Name) for target in node.targets for n in _elements(target))
    return isinstance(node, ast.AugAssign) or (isinstance(node, ast.If) and not node.orelse)


def _elements(target):
    return target.elts if isinstance(target, ast.Tuple) else [target]


def _with(node, **fields):
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


class _Loader(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives the mutant when its module is imported."""

    def __init__(self, mutant):
        self.mutant = mutant

    def find_spec(self, fullname, path=None, target=None):
        del path, target
        if fullname == self.mutant.module:
            return importlib.util.spec_from_loader(fullname, self)
        return None

    def get_source(self, fullname):
        del fullname

    def get_code(self, fullname):
        return compile(self.mutant.changed(), f"mutant of {fullname}", "exec")


def fate(mutant, tests, seconds, root=ROOT, names=os.devnull):
    """What becomes of a mutant: "killed" by a test, "stopped" as it took too long, or "SURVIVED".

    The tests run in a fork of this process: what this has imported costs nothing. It must not have imported
    the package. They may take some seconds of the processor, and `_MEMORY`; what they imported is written to
    the file `names`.

    Raises:
        RuntimeError: the tests can't be run, or don't import the module.
    """
    assert mutant is None or mutant.module.partition(".")[0] not in sys.modules
    child = os.fork()
    if not child:
        _run(mutant, tests, seconds, root, names)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "stopped"
    if code not in (0, 1, _INTERRUPTED):
        raise RuntimeError(f"pytest ended with {code}, or never imported {mutant and mutant.module}")
    return "killed" if code else "SURVIVED"


def _run(mutant, tests, seconds, root, names):
    """Run the tests and leave the process."""
    import pytest

    code = 3
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        os.chdir(root)
        sys.path.insert(0, str(root))
        if mutant:
            sys.meta_path.insert(0, _Loader(mutant))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", "not slow and not campaign"]
            ended = int(pytest.main([*options, *tests]))
        if mutant is None or ended == _INTERRUPTED or mutant.module in sys.modules:
            code = ended
        Path(names).write_text("\n".join(_foreign_modules()))
    finally:
        os._exit(code)


def prepare(tests, seconds):
    """Import all that the tests import, but for the package and the tests themselves.

    Hypothesis takes no examples from other runs and doesn't shrink those that it finds.

    Raises:
        RuntimeError: the tests fail.
    """
    import hypothesis
    import torch

    torch.set_num_threads(1)
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", phases=phases, derandomize=True, database=None)
    hypothesis.settings.load_profile("mutants")
    with tempfile.NamedTemporaryFile("r") as names:
        if fate(None, tests, seconds, names=names.name) != "SURVIVED":
            raise RuntimeError("the tests fail without a mutant")
        for name in names.read().split():
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    gc.freeze()  # else each fork goes through all that is there, and copies it


def _foreign_modules():
    """What is imported and lies in no folder of ours."""
    for name, module in sys.modules.items():
        file = getattr(module, "__file__", None)
        if file and not Path(file).is_relative_to(ROOT) and name != "__main__":
            yield name


def campaign(target, sample=None, seed=0, seconds=20, tell=print):
    """Try mutants of a target.

    Args:
        target: modules and tests.
        sample: how many mutants, drawn at random; None means all.
        seed: of the draw.
        seconds: of the processor that the tests may take.
        tell: gets a line for each mutant.

    Returns:
        Number of mutants there are, number tried, how many were killed or stopped, and the names of those
        that no test noticed.

    Raises:
        RuntimeError: the tests fail without any mutant.
    """
    prepare(target.tests, seconds)
    every = []
    for module in target.modules:
        path = ROOT / f"{module.replace('.', '/')}.py"
        every += mutants_of(module, path.read_text())
    chosen = every
    if sample is not None and sample < len(every):
        places = random.Random(seed).sample(range(len(every)), sample)
        chosen = [every[place] for place in sorted(places)]
    fates = {}
    for mutant in chosen:
        fates[mutant.name] = fate(mutant, target.tests, seconds)
        tell(f"{fates[mutant.name]:8}  {mutant.name}")
    counts = {word: list(fates.values()).count(word) for word in ("killed", "stopped")}
    survivors = [name for name, word in fates.items() if word == "SURVIVED"]
    return {"mutants": len(every), "tried": len(chosen), **counts, "survivors": survivors}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tell = functools.partial(print, flush=True)
    found = campaign(TARGETS[given.target], given.sample, given.seed, tell=tell)
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
