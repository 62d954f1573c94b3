"""Pieces of a Python file, and their checks."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from sla_bench.contracts.checks import Checks, Finding, findings
from sla_bench.contracts.datasets import dataset_checks
from sla_bench.contracts.heads import head_checks
from sla_bench.contracts.losses import loss_checks
from sla_bench.contracts.methods import method_checks
from sla_bench.contracts.transforms import transform_checks
from sla_bench.data.base import Dataset
from sla_bench.errors import UserError
from sla_bench.models.heads.base import FewShotHead
from sla_bench.models.losses.base import Criterion
from sla_bench.objectives.objective import Objective
from sla_bench.views.transforms import Transform

_PACKAGE = Path(__file__).parents[1]
_CLASSES: dict[type, str] = {FewShotHead: "learner", Criterion: "loss"}
_INSTANCES: dict[type, str] = {Transform: "transform", Objective: "method", Dataset: "data set"}
_WRITES = "import and checks write no file"


@dataclass(frozen=True)
class CheckedPiece:
    """A piece with its findings.

    Args:
        kind: of piece, in words.
        name: of the class or the instance in the file.
        found: of its checks, in order.
    """

    kind: str
    name: str
    found: tuple[Finding, ...]


def check_file(file: Path, data_root: Path) -> list[CheckedPiece]:
    """Import a Python file in an empty folder, and check each piece that the file defines.

    Heads and losses are classes; transforms, methods and data sets are instances, as in the registry. Files
    written into that folder or beside the file are a finding.

    Args:
        file: Python source.
        data_root: where a data set looks for its files.

    Raises:
        UserError: the file is missing, cannot be imported, or defines no piece.
    """
    source, data_root = _source(file), data_root.resolve()
    file = file.resolve()
    with _emptied() as folder:
        before = _beside(file)
        module = _imported(file)
        pieces = list(_pieces(module, source))
        if not pieces:
            raise UserError(f"{file.name} has no piece to check: {_missing(module)}")
        checked = [
            CheckedPiece(kind, name, tuple(findings(_checks(value, data_root))))
            for kind, name, value in pieces
        ]
        written = sorted(
            {*_below(folder), *(name for name, state in _beside(file).items() if before.get(name) != state)}
        )
    problem = f"written were {', '.join(written[:5])}" if written else None
    return [*checked, CheckedPiece("file", file.name, (Finding(_WRITES, problem),))]


def _source(file: Path) -> str:
    """The text of a file that Python can parse."""
    if not file.is_file():
        raise UserError(
            f"{file} is {'a folder' if file.is_dir() else 'missing'}; check-piece takes a Python file"
        )
    try:
        source = file.read_bytes().decode()
        ast.parse(source)
    except UnicodeDecodeError:
        raise UserError(f"{file} is not a text in UTF-8; check-piece takes a Python file") from None
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: {error.msg}; correct the file first") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    return source


@contextlib.contextmanager
def _emptied() -> Iterator[Path]:
    """Inside, the working folder is a new one, and Python leaves no compiled files."""
    bytecode, path = sys.dont_write_bytecode, list(sys.path)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, contextlib.chdir(name):
        sys.dont_write_bytecode = True
        try:
            yield Path(name)
        finally:
            sys.dont_write_bytecode, sys.path[:] = bytecode, path


def _imported(file: Path) -> ModuleType:
    """The module of a file; one of this package keeps its name."""
    try:
        if file.is_relative_to(_PACKAGE):
            place = file.relative_to(_PACKAGE.parent).with_suffix("")
            return importlib.import_module(".".join(place.parts))
        sys.path.insert(0, str(file.parent))
        name = f"checked_{file.stem}"
        spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(file)))
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the file is somebody else's code
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
        where = f", line {lines[-1]}" if lines else ""
        raise UserError(f"{file}{where}: cannot be imported: {type(error).__name__}: {error}") from None
    return module


def _pieces(module: ModuleType, source: str) -> Iterator[tuple[str, str, Any]]:
    """Kind, name and value of the pieces that a module defines itself."""
    imports = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom))
    foreign = {alias.asname or alias.name for node in imports for alias in node.names}
    seen: list[Any] = []
    for name, value in vars(module).items():
        if name in foreign or name.startswith("_") or any(value is other for other in seen):
            continue
        if isinstance(value, type):
            own = value.__module__ == module.__name__ and not inspect.isabstract(value)
            kind = _kind(_CLASSES, lambda base, v=value: issubclass(v, base)) if own else None
        else:
            kind = _kind(_INSTANCES, lambda base, v=value: isinstance(v, base))
        if kind is not None:
            seen.append(value)
            yield kind, name, value


def _kind(kinds: Mapping[type, str], fits: Any) -> str | None:
    return next((kind for base, kind in kinds.items() if fits(base)), None)


def _missing(module: ModuleType) -> str:
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__:
            kind = _kind(_INSTANCES, lambda base, v=value: issubclass(v, base))
            if kind is not None:
                return f"the {kind} {name} needs an instance, as in {name.upper()} = {name}(...)"
    bases = [f"a subclass of {base.__name__}" for base in _CLASSES]
    bases += [f"an instance of {base.__name__}" for base in _INSTANCES]
    return f"a piece is {', '.join(bases[:-1])} or {bases[-1]}"


def _checks(value: Any, data_root: Path) -> Checks:
    if isinstance(value, type) and issubclass(value, FewShotHead):
        return head_checks(value)
    if isinstance(value, type) and issubclass(value, Criterion):
        return loss_checks(value)
    if isinstance(value, Transform):
        return transform_checks(value)
    return method_checks(value) if isinstance(value, Objective) else dataset_checks(value, data_root)


def _below(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def _beside(file: Path) -> dict[str, tuple[int, int]]:
    """Name -> size and time of the files in the same folder."""
    states = ((path.name, path.stat()) for path in file.parent.iterdir() if path.is_file())
    return {name: (state.st_size, state.st_mtime_ns) for name, state in states}
