"""Model families, one file each, and the named problems that they define.

Importing this room imports no family: that is done when problems are asked for.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from slt_jax.model import Model
from slt_jax.problem import Problem
from slt_jax.validation import shown, suggestion

GROUP = "slt_jax.problems"
ROOM = Path(__file__).resolve().parent


def named_problems() -> dict[str, Problem]:
    """Return all named problems, found by importing every file in ``slt_jax.models``.

    A file takes part by defining ``problems() -> tuple[Problem, ...]``; a tuple ``MAKERS`` has its
    functions that make a problem for arguments. Raises ValueError if two problems share a name.

    >>> from slt_jax import named_problems
    >>> named_problems()["tanh_3"].theory.learning_coefficient
    Fraction(5, 6)
    """
    return dict(_discovered())


@functools.cache
def _discovered() -> dict[str, Problem]:
    """Search once, so that a problem is one constant to compiled functions."""
    problems: dict[str, Problem] = {}
    for module in _families():
        for problem in module.problems():
            if problem.name in problems:
                raise ValueError(f"two problems are called {problem.name!r}; names must be unique")
            problems[problem.name] = problem
    return problems


def _families() -> list[Any]:
    names = sorted(module_info.name for module_info in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}") for name in names]


@functools.cache
def _makers() -> dict[str, Callable[..., Problem]]:
    """Return the functions by which families make a problem for arguments: their ``MAKERS``."""
    return {m.__name__: m for family in _families() for m in getattr(family, "MAKERS", ())}


def load_problem(spec: str) -> Problem:
    """Return the problem that a specification names, always the same one.

    ``spec`` is the name of a problem of this package or of an installed one that declares it as an
    entry point of the group ``slt_jax.problems``; or ``package.module:name`` or ``file.py:name``,
    the name being that of a problem which the module's ``problems()`` returns or of a variable that
    holds a problem or a model. A name with arguments in brackets calls a function that returns a
    problem: ``teacher_student(relu,1,3)`` or ``file.py:cubic(noise=0.1)``, where words stand for
    strings. A model alone makes a problem of which no truth is known.

    Raises ValueError, in one line, for a specification of another form, with the nearest names for
    one that there is not, and for a module or file that is absent or fails.

    >>> import slt_jax as slt
    >>> slt.load_problem("tanh_3").theory.learning_coefficient
    Fraction(5, 6)
    >>> slt.load_problem("tanh3")
    Traceback (most recent call last):
        ...
    ValueError: problem 'tanh3': did you mean tanh_3, tanh_2, tanh_1?
    """
    if not isinstance(spec, str):
        raise ValueError(f"problem {shown(spec)}: must be a string, as 'tanh_3'")
    return _loaded(spec)


def problems_of(specs: Sequence[str]) -> list[Problem]:
    """Return the problems of specifications that ``load_problem`` takes, in their order.

    Raises ValueError as it does, where two problems have the same name, and for names that are not
    fit for files.

    >>> from slt_jax.models import problems_of
    >>> [problem.title for problem in problems_of(["linear_3", "monomial_1_1"])]
    ['y = w·x, d = 3 (regular)', 'y = w₁w₂x, truth 0']
    """
    if isinstance(specs, str) or not isinstance(specs, Iterable):
        raise ValueError(f"specs = {shown(specs)}: must be a sequence of names of problems")
    problems = [load_problem(spec) for spec in specs]
    names = [problem.name for problem in problems]
    for spec, name in zip(specs, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"problem {spec!r}: two problems are called {name!r}")
        if not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(f"problem {spec!r}: name {name!r} must be of letters, digits, _ . -")
    return problems


def source_files(specs: Iterable[str]) -> list[Path]:
    """Return the files that define problems from outside of this package, each once.

    They are the file of a specification with those beside it that it imports, or all files of a
    module's package.
    """
    files: dict[Path, None] = {}
    for spec in specs:
        parsed = _parsed(spec)
        source = parsed.source
        if source is None and (entry := _entry_points().get(parsed.name)):
            source = entry.module
        if source is not None:
            files |= dict.fromkeys(_files_of(source))
    return [file for file in files if ROOM.parent not in file.parents]


def _files_of(source: str) -> list[Path]:
    if source.endswith(".py"):
        return _with_neighbours(Path(source).resolve())
    with _importing_from(Path.cwd()):
        top = importlib.import_module(source.split(".")[0])
    if not hasattr(top, "__path__"):
        return _with_neighbours(Path(str(top.__file__)).resolve())
    return [
        file.resolve() for folder in top.__path__ for file in sorted(Path(folder).rglob("*.py"))
    ]


def _with_neighbours(file: Path) -> list[Path]:
    """Return a file and the files of its folder that it imports, or that these import."""
    files = [file]
    for each in files:  # which grows on the way
        for node in ast.walk(ast.parse(each.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            beside = [file.parent / f"{name.split('.')[0]}.py" for name in names]
            files += [path for path in beside if path.is_file() and path not in files]
    return files


class _Spec(NamedTuple):
    """A specification: SOURCE:NAME or NAME, with arguments where it calls a function."""

    source: str | None
    name: str
    call: ast.Call | None


def _parsed(spec: str) -> _Spec:
    head, bracket, rest = spec.strip().partition("(")
    source, colon, name = head.rpartition(":")
    call = None
    if bracket:
        try:
            tree: Any = ast.parse(f"_({rest}", mode="eval").body
        except SyntaxError:
            tree = None
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            call = tree
    if not name or bool(colon) != bool(source) or bool(bracket) != (call is not None):
        raise ValueError(
            f"problem {spec!r}: must be a name, package.module:name or file.py:name, with or "
            "without (arguments)"
        )
    return _Spec(source or None, name, call)


def _loaded(spec: str) -> Problem:
    parsed = _parsed(spec)
    if parsed.source is None and parsed.call is None:
        return _named(parsed.name)
    try:
        known = _definitions(parsed.source, parsed.call is not None)
        if parsed.name in known:
            return _problem_from(parsed, known[parsed.name])
    except Exception as error:  # a stranger's code may raise anything
        reason = " ".join(str(error).split()) or "no reason given"
        raise ValueError(f"problem {spec!r}: {type(error).__name__}: {reason}") from error
    what = "problem" if parsed.call is None else "function"
    hint = suggestion(parsed.name, known)
    raise ValueError(f"problem {spec!r}: no {what} {parsed.name!r}; {hint}")


def _definitions(source: str | None, callables: bool) -> dict[str, Any]:
    """Return the problems and models of a source by name, or else its functions."""
    if source is None:
        return dict(_makers())
    if source.endswith(".py"):
        return _defined_in(_module_of_file(source), callables)
    with _importing_from(Path.cwd()):  # which a console script does not look in
        return _defined_in(importlib.import_module(source), callables)


@contextlib.contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let a stranger's code import what lies beside it, as if Python had been started there."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _problem_from(parsed: _Spec, found: Any) -> Problem:
    if parsed.call is not None:
        found = _returned(found, ast.unparse(parsed.call))
    if isinstance(found, Model):
        found = _without_truth(parsed.name, found)
    if not isinstance(found, Problem):
        raise ValueError(f"is a {type(found).__name__}: must be a Problem or a Model")
    return found


@functools.cache
def _returned(function: Callable[..., Any], call: str) -> Any:
    """Call a function once with the literals of a call; a word that is none of them is a string."""

    def value(node: ast.expr) -> Any:
        return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)

    tree: Any = ast.parse(call, mode="eval").body
    return function(*map(value, tree.args), **{k.arg: value(k.value) for k in tree.keywords})


@functools.cache
def _without_truth(name: str, model: Model) -> Problem:
    return Problem(name, model)


def _named(name: str) -> Problem:
    """Return the problem of a name that needs no source: of this package, or an entry point."""
    known, entries = _discovered(), _entry_points()
    if name in known:
        if name in entries:
            raise ValueError(
                f"problem {name!r}: {entries[name].value} of an installed package has the name of "
                "one of this package"
            )
        return known[name]
    if name in entries:
        return _loaded(entries[name].value)
    if name in _makers():
        takes = inspect.signature(_makers()[name])
        raise ValueError(f"problem {name!r}: needs arguments, as {name}{takes}")
    raise ValueError(f"problem {name!r}: {suggestion(name, [*known, *entries, *_makers()])}")


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """Return the problems that installed packages declare, by name; nothing of them is imported."""
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}


def _module_of_file(path: str) -> ModuleType:
    """Execute a file as a module, unless that has been done."""
    file = Path(path).resolve()
    # Files in two folders may share a name; the classes of each look for their own module.
    name = f"{file.stem}_{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importing_from(file.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@functools.cache
def _defined_in(module: ModuleType, callables: bool) -> dict[str, Any]:
    """Return the functions of a module, or else its problems and models; variables come last."""
    values = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    if callables:
        return {name: value for name, value in values.items() if inspect.isfunction(value)}
    declared = module.problems() if hasattr(module, "problems") else ()
    variables = {name: v for name, v in values.items() if isinstance(v, Problem | Model)}
    return {problem.name: problem for problem in declared} | variables
