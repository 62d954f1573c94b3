"""Shapes of arrays in docstrings."""

# ruff checks the rest of the docstrings (D, DOC).

import contextlib
import importlib
import inspect
import operator
import pkgutil
import re
import sys
import types

import pytest

import sla_bench

ARRAY = re.compile(r"\b(Tensor|ndarray|NDArray|ArrayLike)\b")
NAMED_ARRAYS = re.compile(r"(dict|Mapping)\[str, [\w.]*(Tensor|ndarray)\]")
SIZE = r"(?:\.\.\.|\d+|[A-Za-z]\w*)(?: ?[*+/-] ?\w+)*"
SYMBOL = r"(?=[^()]*(?<![\w.])(?:\.\.\.|[A-Z][A-Z_]*[a-z0-9]?\b))"
NUMBER_AND_WORD = r"(?=[^()]*\b\d)(?=[^()]*\b[a-z])"
SHAPE = re.compile(
    rf"\({SIZE},\)|\((?:{SYMBOL}|{NUMBER_AND_WORD}){SIZE}(?:, {SIZE})+\)|\bscalars?\b|\bany shape\b|\b0-d\b"
)
REFERENCE = re.compile(r"\b[Aa]s `([\w.]+)`|\b[Ss]ee `([\w.]+)`")


def has_shape(text):
    """A shape such as `(B, 3, H, W)` or `(N,)`, or the words scalar or any shape."""
    return bool(SHAPE.search(" ".join(text.split())))


def has_array(annotations):
    return any(ARRAY.search(NAMED_ARRAYS.sub("", str(a))) for a in annotations.values())


def public(holder, module):
    """Name -> class or function that a module, or a class in it, defines for others."""
    found = {}
    for name, thing in list(vars(holder).items()):
        plain = inspect.unwrap(getattr(thing, "fget", None) or getattr(thing, "__func__", thing))
        if getattr(plain, "__module__", None) == module.__name__ and (name == "__init__" or name[0] != "_"):
            found[name] = plain
    return found


def texts_about(name, owner, module):
    """Docstrings of a function: its own or those overridden, of its class, and of what they refer to."""
    things = (
        [owner, *(getattr(base, name, None) for base in owner.__mro__)] if owner else [getattr(module, name)]
    )
    texts = [inspect.getdoc(thing) or "" for thing in things]
    references = [a or b for text in texts for a, b in REFERENCE.findall(text)]
    for reference in references:
        with contextlib.suppress(AttributeError):
            texts.append(inspect.getdoc(operator.attrgetter(reference)(module)) or "")
    return texts


def without_shapes(module):
    """Public functions, methods and records of arrays whose docstrings say no shape."""
    for name, thing in public(module, module).items():
        functions = public(thing, module) if inspect.isclass(thing) else {name: thing}
        owner = thing if inspect.isclass(thing) else None
        for inner, function in functions.items():
            takes_arrays = inspect.isfunction(function) and has_array(function.__annotations__)
            if takes_arrays and not any(map(has_shape, texts_about(inner, owner, module))):
                yield f"{module.__name__}.{function.__qualname__}"
        record = hasattr(thing, "__dataclass_fields__") and has_array(vars(thing).get("__annotations__", {}))
        if record and not has_shape(inspect.getdoc(thing)):
            yield f"{module.__name__}.{name}"


def test_docstrings_of_functions_on_arrays_say_shapes():
    names = [
        m.name for m in pkgutil.walk_packages(sla_bench.__path__, "sla_bench.") if "__main__" not in m.name
    ]
    found = [problem for name in names for problem in without_shapes(importlib.import_module(name))]
    assert not found
    assert len(names) > 100


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("Images (B, C, H, W).", True),
        ("Labels (n,) of them", True),
        ("(..., D) -> (..., M)", True),
        ("uint8 (size, size, 3)", True),
        ("logits (E, W*Q) of all", True),
        ("broken over (B,\n    N) lines", True),
        ("The loss, a scalar.", True),
        ("One of every (class, view).", False),
        ("In the interval (0, 1).", False),
        ("Lee, Hwang and Shin (ICML 2020, section 3).", False),
        ("CE(u(z_1), y); see the base class.", False),
    ],
)
def test_a_shape_is_told_from_words_in_brackets(text, shape):
    assert has_shape(text) is shape


MADE_UP = """
from __future__ import annotations
import dataclasses
class Base:
    "Reads."
    def read(self, x: Tensor) -> Tensor:
        "Scores (B, N)."
class Child(Base):
    "Reads in another way."
    def read(self, x: Tensor) -> Tensor:
        "See the base class."
    def other(self) -> tuple[np.ndarray, int]:
        "Reads (see there, and here)."
def state() -> dict[str, Tensor]:
    "Named arrays have no common shape."
def loss(parts: Sequence[Tensor], *, weight: float = 1.0):
    "The mean."
def again(x: ArrayLike) -> float:
    "As `Base.read`."
@dataclasses.dataclass(init=False)
class Record:
    "Fields."
    field: np.ndarray
"""


def test_arrays_without_a_shape_are_found(monkeypatch):
    module = types.ModuleType("made_up")
    monkeypatch.setitem(sys.modules, "made_up", module)
    exec(MADE_UP, vars(module))
    assert list(without_shapes(module)) == ["made_up.Child.other", "made_up.loss", "made_up.Record"]
