"""Bounds on values: those that a field declares, and the first entry of an array that is outside.

Every refusal is a ValueError of one line that names the field or entry, its value and what is
allowed.
"""

import dataclasses
import difflib
import functools
import inspect
import itertools
import math
from collections.abc import Iterable
from contextlib import suppress
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """Bound of a number: finite and ≥ ``minimum``."""

    minimum: float

    def allows(self, value: Any) -> bool:
        """Say if a number is within the bound."""
        return self.minimum <= value < math.inf

    def __str__(self) -> str:
        return f"≥ {self.minimum}"


@dataclasses.dataclass(frozen=True)
class Above:
    """Bound of a number: finite and > ``minimum``."""

    minimum: float

    def allows(self, value: Any) -> bool:
        """Say if a number is within the bound."""
        return self.minimum < value < math.inf

    def __str__(self) -> str:
        return f"> {self.minimum} and finite"


@dataclasses.dataclass(frozen=True)
class Within:
    """Bound of a number: from ``minimum`` to ``maximum``, both allowed."""

    minimum: float
    maximum: float

    def allows(self, value: Any) -> bool:
        """Say if a number is within the bound."""
        return self.minimum <= value <= self.maximum

    def __str__(self) -> str:
        return f"from {self.minimum} to {self.maximum}"


@dataclasses.dataclass(frozen=True)
class Between:
    """Bound of a number: above ``low`` and below ``high``."""

    low: float
    high: float

    def allows(self, value: Any) -> bool:
        """Say if a number is within the bound."""
        return self.low < value < self.high

    def __str__(self) -> str:
        return f"above {self.low} and below {self.high}"


@dataclasses.dataclass(frozen=True)
class OrMore:
    """Bound of a tuple: at least so many entries."""

    entries: int

    def allows(self, value: Any) -> bool:
        """Say if a tuple has as many entries."""
        return len(value) >= self.entries

    def __str__(self) -> str:
        return f"with {self.entries} or more entries"


@dataclasses.dataclass(frozen=True)
class Increasing:
    """Bound of a tuple of numbers: each is larger than the one before."""

    def allows(self, value: Any) -> bool:
        """Say if a tuple increases."""
        return all(low < high for low, high in itertools.pairwise(value))

    def __str__(self) -> str:
        return "that increases"


@dataclasses.dataclass(frozen=True)
class Different:
    """Bound of a tuple: no entry twice."""

    def allows(self, value: Any) -> bool:
        """Say if all entries differ."""
        return len(set(value)) == len(value)

    def __str__(self) -> str:
        return "without repetitions"


@dataclasses.dataclass(frozen=True)
class ProblemSpecs:
    """Bound of a tuple: specifications of problems, as ``slt_jax.load_problem`` takes them.

    What they name is looked at when a run begins, since that needs JAX.
    """

    def allows(self, value: Any) -> bool:
        """Say if no specification is empty."""
        return all(spec.strip() for spec in value)

    def __str__(self) -> str:
        return "of names, file.py:name or package.module:name,"


Positive = Annotated[float, Above(0)]
"""A number that is positive and finite."""
Size = Annotated[int, AtLeast(0)]
"""An integer ≥ 0."""
Count = Annotated[int, AtLeast(1)]
"""An integer ≥ 1."""

# A double tells every n up to here from its neighbours, and no product of it overflows 64 bits.
LARGEST_SIZE = 10**15
# The index of a datum enters its random key with 32 bits: later data would repeat the first ones.
LARGEST_SIMULATED = 2**32
SampleSize = Annotated[int, Within(1, LARGEST_SIZE)]
"""An n at which no data are simulated one by one."""
SimulatedSize = Annotated[int, Within(1, LARGEST_SIMULATED)]
"""An n up to which data are simulated."""


KINDS: dict[Any, tuple[Any, str]] = {
    bool: ((bool, np.bool_), "True or False"),
    int: (Integral, "an integer"),
    float: (Real, "a number"),
    tuple: (tuple, "a tuple"),
}


def check_fields(record: Any) -> None:
    """Refuse a dataclass that has a field of another type than it declares, or out of its bounds.

    Integers, floats, booleans, literals, tuples of these, and each of them or None are checked,
    with the bounds in ``Annotated``. Fields of other types are not checked, nor those of a class
    whose annotations hold names that only a type checker knows. Raises ValueError for the first
    field that is wrong.
    """
    family: Any = type(record)
    declared = annotations_of(family)
    for field in dataclasses.fields(record):
        check(field.name, getattr(record, field.name), declared.get(field.name))


@functools.cache
def annotations_of(family: type) -> dict[str, Any]:
    """Return the annotations of a class and its bases, with strings evaluated."""
    annotations: dict[str, Any] = {}
    for base in reversed(family.__mro__):
        with suppress(NameError):
            annotations |= inspect.get_annotations(base, eval_str=True)
    return annotations


def check(name: str, value: Any, declared: Any) -> None:
    """Refuse a value that is not of a declared type and in its bounds, as ``check_fields`` does."""
    bounds: list[Any] = []
    if get_origin(declared) in (Union, UnionType):
        kinds = [kind for kind in get_args(declared) if kind is not NoneType]
        if value is not None and len(kinds) == 1:
            check(name, value, kinds[0])
        return
    if get_origin(declared) is Annotated:
        declared, *bounds = get_args(declared)
    kind, choices = get_origin(declared) or declared, get_args(declared)
    if kind is Literal:
        right, what = value in choices, f"one of {', '.join(map(str, choices))}"
    elif kind in KINDS:
        types, what = KINDS[kind]
        right = isinstance(value, types) and (kind is bool or not isinstance(value, bool))
    else:
        return
    if right and kind is tuple and len(choices) == 2 and choices[1] is ...:
        for place, entry in enumerate(value):
            check(f"{name}[{place}]", entry, choices[0])
    # After the entries, as bounds of a tuple compare them.
    if not (right and all(bound.allows(value) for bound in bounds)):
        shown = repr(value) if isinstance(value, str) else " ".join(str(value).split())
        raise ValueError(f"{name} = {shown}: must be {' '.join([what, *map(str, bounds)])}")


def refuse_first(name: str, values: np.ndarray, allowed: Any, what: str) -> None:
    """Refuse an array unless all of it is ``allowed``, a mask of its shape or of leading axes.

    Raises ValueError with the place and the value of the first entry that is not allowed.
    """
    mask = np.asarray(allowed)
    if not np.all(mask):
        place = tuple(np.argwhere(~mask)[0])
        value = " ".join(str(values[place]).split())
        raise ValueError(f"{name}[{', '.join(map(str, place))}] is {value}; {what}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Name the nearest of the known names, or all of them, for the refusal of one that is not.

    >>> suggestion("tanh3", ["tanh_3", "linear_3"])
    'did you mean tanh_3?'
    >>> suggestion("nope", ["tanh_3", "linear_3"])
    'choose from tanh_3, linear_3'
    """
    names = list(known)
    if close := difflib.get_close_matches(name, names):
        return f"did you mean {', '.join(close)}?"
    return f"choose from {', '.join(names) or 'none, as there is none'}"
