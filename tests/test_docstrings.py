import importlib
import pkgutil
import textwrap
import types
from pathlib import Path

import docstrings
import pytest

import sla_bench

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(sla_bench.__path__, "sla_bench.")
    if not module.name.endswith("__main__")  # it runs the command line
)


def test_docstrings_say_shapes_and_errors():
    """Of every public function, method and class.

    A shape where an annotation speaks of arrays, but for state dicts and archives, whose arrays have names
    and no common shape; it may stand in the docstring of the class, of what is overridden, or of what the
    docstring refers to ("see `read_array`"). In `Raises:`, or that of those, what the body itself raises.
    """
    modules = [importlib.import_module(name) for name in MODULES]
    found = [
        problem
        for module in modules
        for problem in docstrings.problems(module, Path(module.__file__).read_text())
    ]
    assert not found, "\n".join(found)
    assert len(modules) > 100


def problems_of(code):
    code = textwrap.dedent(code)
    module = types.ModuleType("made_up")
    exec("from __future__ import annotations\n" + code, vars(module))
    return [problem.partition(" ")[2] for problem in docstrings.problems(module, code)]


def test_what_has_no_docstring_is_found():
    code = """
    def documented():
        "Says so."
        def inner(): pass
    def function(): pass
    def _private(): pass
    class Thing:
        def method(self): pass
        def __len__(self): return 0
    """
    assert problems_of(code) == [
        "function: no docstring",
        "Thing: no docstring",
        "Thing.method: no docstring",
    ]


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("Images (B, C, H, W).", True),
        ("Labels int64 (N,).", True),
        ("Labels (n,) of them", True),
        ("(..., D) -> (..., M)", True),
        ("uint8 (size, size, 3)", True),
        ("uint8 (fonts, CANVAS, CANVAS)", True),
        ("logits (E, W*Q) of all", True),
        ("broken over (B,\n    N) lines", True),
        ("The loss, a scalar.", True),
        ("An array of any shape.", True),
        ("One of every (class, view).", False),
        ("In the interval (0, 1).", False),
        ("Lee, Hwang and Shin (ICML 2020, section 3).", False),
        ("CE(u(z_1), y); see the base class.", False),
        ("Vectors.", False),
    ],
)
def test_a_shape_is_told_from_words_in_brackets(text, shape):
    assert docstrings.has_shape(text) is shape


def test_arrays_without_a_shape_are_found():
    code = """
    import dataclasses, typing
    class Base:
        "Reads."
        def read(self, x: Tensor) -> Tensor:
            "Scores (B, N)."
    class Child(Base):
        "Reads otherwise."
        def read(self, x: Tensor) -> Tensor:
            "See the base class."
        def other(self) -> tuple[np.ndarray, int]:
            "Of the class (see there, and here)."
    def state() -> dict[str, Tensor]:
        "Names have no common shape."
    def loss(parts: Sequence[Tensor], *, weight: float = 1.0):
        "The mean."
    def several(*parts: Tensor):
        "Some."
    def again(x: ArrayLike) -> float:
        "As `Base.read`."
    @dataclasses.dataclass
    class Record:
        "Fields."
        field: np.ndarray
    class Tuple(typing.NamedTuple):
        "Fields (N,)."
        field: np.ndarray
    class Module:
        "What is only declared is no field."
        buffer: Tensor
        def __init__(self, counts: Tensor) -> None: pass
    """
    assert problems_of(code) == [
        "Child.other: takes or gives arrays, no shape",
        "loss: takes or gives arrays, no shape",
        "several: takes or gives arrays, no shape",
        "Record: fields are arrays, no shape",
        "Module.__init__: takes or gives arrays, no shape",
    ]


RAISING = '''
from sla_bench.errors import UserError, unknown
from sla_bench import errors

class OwnError(UserError):
    """Of this module."""

def helped(name) -> OwnError:
    """An error to raise."""
    return OwnError(name)

class Thing:
    """Has methods."""

    def _wrong(self) -> UserError:
        return UserError("wrong")

    def method(self):
        """Does.{raises}
        """
        {body}
'''


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise UserError('x')", "UserError"),
        ("raise errors.UserError('x')", "UserError"),
        ("if self: raise OSError", "OSError"),
        ("raise unknown('kind', 'name', [])", "UserError"),
        ("raise helped('x') from None", "OwnError"),
        ("raise self._wrong()", "UserError"),
        ("with open('x'): raise EOFError('x')", "EOFError"),
        ("try: pass\n        except OSError: raise ValueError('x')", "ValueError"),
        ("try: raise ValueError('x')\n        except OSError: pass", "ValueError"),
    ],
)
def test_an_error_that_is_raised_has_to_be_named(body, error):
    silent = RAISING.format(body=body, raises="")
    assert problems_of(silent) == [f"Thing.method: raises {error}, which no Raises: names"]
    other = RAISING.format(body=body, raises="\n\n        Raises:\n            KeyError: of another kind.")
    assert problems_of(other) == [f"Thing.method: raises {error}, which no Raises: names"]
    named = RAISING.format(body=body, raises=f"\n\n        Raises:\n            {error}: it is so.")
    assert problems_of(named) == []


@pytest.mark.parametrize(
    "body",
    [
        "raise NotImplementedError",
        "try: pass\n        except OSError as error: raise",
        "try: pass\n        except OSError as error: raise error",
        "try: raise KeyError('x')\n        except LookupError: pass",
        "try: raise KeyError('x')\n        except (OSError, KeyError): pass",
        "try: raise OwnError('x')\n        except UserError: pass",
        "try: raise OwnError('x')\n        except (OwnError, OSError): pass",
        "def inner(): raise UserError('x')",
    ],
)
def test_what_is_caught_passed_on_or_of_another_function_need_not_be_named(body):
    assert problems_of(RAISING.format(body=body, raises="")) == []


def test_the_name_of_a_base_class_will_do():
    section = "\n\n        Raises:\n            UserError: it is so."
    assert problems_of(RAISING.format(body="raise OwnError('x')", raises=section)) == []


def test_an_error_that_does_not_exist_is_found():
    section = """

        Raises:
            UserErorr: misspelt.
            OSError: right,
                and: so on."""
    found = problems_of(RAISING.format(body="pass", raises=section))
    assert found == ["Thing.method: Raises: UserErorr is no exception"]


def test_an_error_of_another_module_of_the_package_is_one():
    importlib.import_module("sla_bench.harness.stopping")
    section = "\n\n        Raises:\n            StoppedError: it was asked to."
    assert problems_of(RAISING.format(body="pass", raises=section)) == []
