"""Model families, one file each, and the named problems that they define.

Importing this room imports no family: that is done when problems are asked for.
"""

import difflib
import functools
import hashlib
import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from slt_jax.problem import Problem
from slt_jax.validation import check_kind


def named_problems() -> dict[str, Problem]:
    """Return all named problems, found by importing every file in ``slt_jax.models``.

    A file takes part by defining ``problems() -> tuple[Problem, ...]``. Raises ValueError if two
    problems share a name.

    >>> from slt_jax import named_problems
    >>> named_problems()["tanh_3"].theory.learning_coefficient
    Fraction(5, 6)
    """
    return dict(_discovered())


@functools.cache
def _discovered() -> dict[str, Problem]:
    """Search once, so that a problem is one constant to compiled functions."""
    problems: dict[str, Problem] = {}
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for problem in module.problems():
            if problem.name in problems:
                raise ValueError(f"two problems are called {problem.name!r}; names must be unique")
            problems[problem.name] = problem
    return problems


def problems_of(names: Sequence[str]) -> list[Problem]:
    """Return the problems of these names, in their order.

    Raises ValueError for a name that no problem has.

    >>> from slt_jax.models import problems_of
    >>> [problem.title for problem in problems_of(["linear_3", "monomial_1_1"])]
    ['y = w·x, d = 3 (regular)', 'y = w₁w₂x, truth 0']
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"names = {names!r}: must be a sequence of names of problems")
    known = named_problems()
    for name in names:
        if name not in known:
            raise ValueError(f"problem {name!r}: {_suggestion(name, known)}")
    return [known[name] for name in names]


def load(spec: str) -> Problem:
    """Return a problem that is defined elsewhere: "package.module:name" or "file.py:name".

    The name is that of a problem which the module's ``problems()`` returns, or of a variable that
    holds a problem. A module is executed once, so that the same specification always gives the
    same problem. Raises ValueError, in one line, for a specification of another form, for a module
    or file that is absent or fails, and for a name that it does not have.

    >>> from slt_jax.models import load
    >>> load("slt_jax.models.linear:linear_3").model.dimension
    3
    """
    check_kind("spec", spec, str, "package.module:name or file.py:name")
    source, _, name = spec.rpartition(":")
    if not (source and name):
        raise ValueError(f"{spec!r}: must be package.module:name or file.py:name")
    try:
        find = _module_of_file if source.endswith(".py") else importlib.import_module
        known = _problems_in(find(source))
    except Exception as error:  # a stranger's code may raise anything
        reason = " ".join(str(error).split()) or "no reason given"
        raise ValueError(f"{spec!r}: {type(error).__name__}: {reason}") from error
    if name not in known:
        raise ValueError(f"{spec!r}: no problem {name!r}; {_suggestion(name, known)}")
    return known[name]


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
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@functools.cache
def _problems_in(module: ModuleType) -> dict[str, Problem]:
    """Return the problems of a module by name; its variables take precedence."""
    declared = module.problems() if hasattr(module, "problems") else ()
    variables = {name: value for name, value in vars(module).items() if isinstance(value, Problem)}
    return {problem.name: problem for problem in declared} | variables


def _suggestion(name: str, known: Iterable[str]) -> str:
    """Name the nearest of the known names, or all of them."""
    if close := difflib.get_close_matches(name, known):
        return f"did you mean {', '.join(close)}?"
    return f"choose from {', '.join(known) or 'none, as it defines no problem'}"
