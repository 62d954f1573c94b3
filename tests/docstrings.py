"""What docstrings promise, held against the code: shapes of arrays, exceptions that are raised."""

import ast
import builtins
import inspect
import re

from sla_bench import errors

_ARRAY = re.compile(r"\b(?:Tensor|ndarray|NDArray|ArrayLike)\b")
_BAG = re.compile(r"\b(?:dict|Mapping)\[str, (?:\w+\.)?(?:Tensor|ndarray)\]")
_TUPLE = re.compile(r"\(([^()]*,[^()]*)\)")
_SIZE = re.compile(r"\.\.\.|\d+|[A-Za-z]\w*(?: ?[*+/-] ?\w+)*")
_SYMBOL = re.compile(r"\.\.\.|[A-Z][A-Z_]*[a-z0-9]?\b")
_REFERENCE = re.compile(r"\b(?:[Ss]ee|[Aa]s) `([\w.]+)`")
_WORDS = re.compile(r"\bscalars?\b|\bany shape\b|\b0-d\b")
# Those are broken promises of the code, and nothing that a caller should expect.
_BUGS = (NotImplementedError, AssertionError)


def problems(module, source):
    """What is wrong with the docstrings of a module, a line each.

    A function is public if neither its name nor that of its class begins with an underscore; of a class,
    `__init__` counts too and is described by the class.
    """
    found, names = [], vars(module)
    for node, holder in _public(ast.parse(source).body):
        name = f"{holder.name}.{node.name}" if holder else node.name
        owner = names[holder.name] if holder else None
        if isinstance(node, ast.ClassDef):
            texts, missing = [ast.get_docstring(node)], _missing_of_class(node, names[node.name])
        else:
            texts = _docstrings(node, holder, owner, names)
            missing = _missing_of_function(node, holder, texts, owner, names)
        if not texts[0]:
            missing = ["no docstring"]
        wrong = [f"Raises: {word} is no exception" for word in _raises(texts[0]) if not _known(word, names)]
        found += [f"{module.__name__}:{node.lineno} {name}: {what}" for what in (*missing, *wrong)]
    return found


def has_shape(text):
    """Whether a text holds a shape, such as `(B, 3, H, W)` or `(N,)`, or says scalar or any shape.

    A tuple of nothing but words, or of nothing but numbers, such as `(class, view)` or `(0, 1)`, is none.
    """
    for inside in _TUPLE.findall(" ".join(text.split())):
        sizes = [size.strip() for size in inside.split(",")]
        single = len(sizes) == 2 and not sizes[1]
        sizes = sizes[:1] if single else sizes
        symbols = any(_SYMBOL.match(size) for size in sizes)
        numbers = [size.isdigit() for size in sizes]
        if all(map(_SIZE.fullmatch, sizes)) and (single or symbols or (any(numbers) and not all(numbers))):
            return True
    return bool(_WORDS.search(text))


def _public(body, holder=None):
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _public(list(ast.iter_child_nodes(node)), holder)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node, None
            yield from _public(node.body, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            (holder and node.name == "__init__") or not node.name.startswith("_")
        ):
            yield node, holder


def _docstrings(node, holder, owner, names):
    """Its own docstring first; then those of the methods that it overrides, and of what it refers to."""
    own = ast.get_docstring(node) or ""
    if node.name == "__init__":
        own = f"{own}\n{ast.get_docstring(holder) or ''}".strip()
    over = [vars(base)[node.name] for base in owner.__mro__[1:] if node.name in vars(base)] if holder else []
    elsewhere = [_named(name, names) for name in _REFERENCE.findall(own)]
    return [own, *(inspect.getdoc(thing) or "" for thing in (*over, *elsewhere) if thing is not None)]


def _missing_of_class(node, owner):
    record = any(hasattr(owner, mark) for mark in ("__dataclass_fields__", "_fields", "__total__"))
    fields = [ast.unparse(line.annotation) for line in node.body if isinstance(line, ast.AnnAssign)]
    if record and any(map(_is_array, fields)) and not has_shape(ast.get_docstring(node) or ""):
        yield "fields are arrays, no shape"


def _missing_of_function(node, holder, texts, owner, names):
    arguments = [child for child in ast.walk(node.args) if isinstance(child, ast.arg)]
    written = [argument.annotation for argument in arguments] + [node.returns]
    of_class = ast.get_docstring(holder) or "" if holder else ""
    if any(_is_array(ast.unparse(a)) for a in written if a) and not any(map(has_shape, [*texts, of_class])):
        yield "takes or gives arrays, no shape"
    said = {_exception(word, names) for text in texts for word in _raises(text)}
    for error in _raised(node.body, owner, names):
        if not issubclass(error, _BUGS) and not said.intersection(error.__mro__):
            yield f"raises {error.__name__}, which no Raises: names"


def _is_array(annotation):
    """An array or several; those of a state dict or of an archive have names and no common shape."""
    return bool(_ARRAY.search(_BAG.sub("", annotation)))


def _raises(text):
    """The names in front of the colons of the section `Raises:`."""
    _, _, section = (text or "").partition("Raises:\n")
    section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^ {4}(\S[^:\n]*):", section, re.MULTILINE)


def _raised(body, owner, names):
    """The classes that statements raise themselves and don't catch again, without those passed on."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Raise) and (error := _class_of(node.exc, owner, names)):
            yield error
        if isinstance(node, ast.Try):
            caught = [c for handler in node.handlers for c in _classes(handler.type, names)]
            yield from (e for e in _raised(node.body, owner, names) if not issubclass(e, tuple(caught)))
            yield from _raised([*node.handlers, *node.orelse, *node.finalbody], owner, names)
        else:
            yield from _raised(ast.iter_child_nodes(node), owner, names)


def _classes(node, names):
    if node is None:
        return [BaseException]
    words = node.elts if isinstance(node, ast.Tuple) else [node]
    return [found for word in words if (found := _exception(ast.unparse(word), names))]


def _class_of(node, owner, names):
    """The class in `raise X`, `raise X(...)`, or of what the function in `raise function(...)` returns."""
    if node is None:
        return None
    name = ast.unparse(node.func if isinstance(node, ast.Call) else node)
    first, _, rest = name.partition(".")
    thing = getattr(owner, rest, None) if first in ("self", "cls") and owner else _named(name, names)
    if inspect.isfunction(thing):
        return _exception(str(inspect.signature(thing).return_annotation), thing.__globals__)
    return thing if _is_exception(thing) else None


def _named(name, names):
    first, *rest = name.split(".")
    thing = next((known[first] for known in (names, vars(builtins), vars(errors)) if first in known), None)
    for part in rest:
        thing = getattr(thing, part, None)
    return thing


def _exception(name, names):
    thing = _named(name, names)
    return thing if _is_exception(thing) else None


def _known(name, names):
    """Whether it is an exception of Python's, of the module's, or one that the package defines."""
    return _exception(name, names) is not None or name in _own_exceptions(BaseException)


def _own_exceptions(base):
    for error in base.__subclasses__():
        if error.__module__.startswith("sla_bench."):
            yield error.__name__
        yield from _own_exceptions(error)


def _is_exception(thing):
    return inspect.isclass(thing) and issubclass(thing, BaseException)
