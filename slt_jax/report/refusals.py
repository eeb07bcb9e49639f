"""Checks that experiments make of their configs: each refusal names the field, its value and what
is allowed."""

import itertools
import math
from collections.abc import Mapping

from slt_jax.models import named_problems
from slt_jax.problem import Problem


def at_least(config: object, minima: Mapping[str, float]) -> None:
    """Raise ValueError where a field is below its minimum."""
    for field, minimum in minima.items():
        if not getattr(config, field) >= minimum:
            raise ValueError(f"{field} = {getattr(config, field)}: must be ≥ {minimum}")


def positive(config: object, *fields: str) -> None:
    """Raise ValueError where a field is not positive and finite."""
    for field in fields:
        if not 0 < getattr(config, field) < math.inf:
            raise ValueError(f"{field} = {getattr(config, field)}: must be positive and finite")


def increasing(config: object, firsts: Mapping[str, int]) -> None:
    """Raise ValueError where a field is empty, does not increase, or begins below its first."""
    for field, first in firsts.items():
        sizes = getattr(config, field)
        if not sizes or sizes[0] < first or any(b <= a for a, b in itertools.pairwise(sizes)):
            raise ValueError(f"{field} = {sizes}: must increase from at least {first}")


def within(config: object, part: str, whole: str) -> None:
    """Raise ValueError where a field holds what another does not."""
    if missing := sorted(set(getattr(config, part)) - set(getattr(config, whole))):
        raise ValueError(f"{part} {missing}: must be among the {whole}")


def oracle_refinement(config: object) -> None:
    """Raise ValueError for an ``oracle_refinement`` that is not 1, 2 or 3."""
    level = getattr(config, "oracle_refinement")  # noqa: B009
    if not 1 <= level <= 3:
        raise ValueError(f"oracle_refinement = {level}: must be 1 to 3")


def known_problems(config: object, field: str = "problems") -> dict[str, Problem]:
    """The problems that a field names, at least one and each once, or a ValueError."""
    known, names = named_problems(), getattr(config, field)
    for name in names:
        if name not in known:
            raise ValueError(f"{field.removesuffix('s')} {name!r}: choose from {', '.join(known)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{field} = {names}: at least one, each once")
    return {name: known[name] for name in names}
