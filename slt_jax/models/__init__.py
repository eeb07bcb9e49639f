"""Model families, one file each, and the named problems that they define."""

import functools
import importlib
import pkgutil
from collections.abc import Sequence

from slt_jax.problem import Problem


def named_problems() -> dict[str, Problem]:
    """All named problems, found by importing every file in ``slt_jax.models``.

    A file takes part by defining ``problems() -> tuple[Problem, ...]``. Raises ValueError if two
    problems share a name.
    """
    return dict(_discovered())


@functools.cache
def _discovered() -> dict[str, Problem]:
    """Import every file once, so that a problem is one constant to compiled functions."""
    package = importlib.import_module(__name__)
    named: dict[str, Problem] = {}
    for module_info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for problem in module.problems():
            if problem.name in named:
                raise ValueError(f"two problems are called {problem.name!r}; names must be unique")
            named[problem.name] = problem
    return named


def problems_of(names: Sequence[str]) -> list[Problem]:
    """The problems of these names, in their order. Raises ValueError for a name that is none's."""
    known = named_problems()
    for name in names:
        if name not in known:
            raise ValueError(f"problem {name!r}: choose from {', '.join(known)}")
    return [known[name] for name in names]
