"""Checks of fields and arguments: their type, the bounds that they declare, and entries of arrays.

Every refusal is a ValueError of one line that names the field, argument or entry, its value and
what is allowed.
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
class Below:
    """Second bound of a number: < ``maximum``."""

    maximum: float

    def allows(self, value: Any) -> bool:
        """Say if a number is within the bound."""
        return value < self.maximum

    def __str__(self) -> str:
        return f"and < {self.maximum}"


@dataclasses.dataclass(frozen=True)
class Finite:
    """Bound of a number: neither NaN nor infinite."""

    def allows(self, value: Any) -> bool:
        """Say if a number is within the bound."""
        return math.isfinite(value)

    def __str__(self) -> str:
        return "and finite"


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
Number = Annotated[float, Finite()]
"""A number that is finite."""
NonNegative = Annotated[float, AtLeast(0), Finite()]
"""A number that is ≥ 0 and finite."""
Probability = Annotated[float, Between(0, 1)]
"""A number above 0 and below 1."""
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
    """Refuse a record that has a field of another type than it declares, or out of its bounds.

    A record is a dataclass or a named tuple.

    Integers, floats, booleans, literals, tuples of these, and each of them or None are checked,
    with the bounds in ``Annotated``. Fields of other types are not checked, nor those of a class
    whose annotations hold names that only a type checker knows. Raises ValueError for the first
    field that is wrong.
    """
    family: Any = type(record)
    declared = annotations_of(family)
    is_tuple = isinstance(record, tuple)
    names = family._fields if is_tuple else [field.name for field in dataclasses.fields(record)]
    for name in names:
        check(name, getattr(record, name), declared.get(name))


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


def checked(name: str, value: Any, declared: Any) -> Any:
    """Return an argument of a declared type and in its bounds, or refuse it as ``check`` does.

    An array without axes counts as the number that it holds, which is returned.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        with suppress(TypeError):  # the value of a key of random numbers cannot be taken
            value = value.item()
    check(name, value, declared)
    return value


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], what: str) -> None:
    """Refuse an argument that is no instance of ``kind``, as a name where a problem belongs.

    ``what`` says what belongs there. Raises ValueError with the value, or with its type where the
    value would fill lines.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} = {shown(value)}: must be {what}")


def check_key(name: str, value: Any, several: bool = False) -> None:
    """Refuse an argument that is not one key of random numbers, or a vector of ``several``.

    A key is known by the name of its type, so that checks do not import JAX.
    """
    is_key = str(getattr(value, "dtype", "")).startswith("key<")
    if not (is_key and len(value.shape) == int(several)):
        what = "keys, as jax.random.split(key, 8)" if several else "one key, as jax.random.key(0)"
        raise ValueError(f"{name} = {shown(value)}: must be {what}")


def shown(value: Any) -> str:
    """A short form of a value in one line: its type where it is large."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def is_traced(value: Any) -> bool:
    """True for a value that is not known yet, within ``jit``, ``vmap`` or ``eval_shape``."""
    import jax  # the command line checks its fields before it needs JAX

    return isinstance(value, jax.core.Tracer)


def real_array(name: str, values: Any) -> np.ndarray:
    """Return real numbers as an array in float64, in which no mask or imaginary part is lost.

    Integers, booleans and floats of any size are taken, and lists, series and frames of them. It
    is the same array where it is one in float64 already. Raises ValueError for anything else.
    """
    if np.ma.isMaskedArray(values):
        refuse_first(name, values, ~np.ma.getmaskarray(values), "masked entries must be left out")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} = {shown(values)}: must be an array of real numbers") from error
    if array.dtype == object and all(isinstance(entry, Real) for entry in array.flat):
        array = array.astype(np.float64)  # columns of a frame that differ in type
    if np.iscomplexobj(array):
        refuse_first(name, array, array.imag == 0, "allowed: real numbers")
        array = array.real
    if not (array.dtype.kind == "f" or np.can_cast(array.dtype, np.float64)):
        raise ValueError(f"{name}: array of type {array.dtype}; allowed: real numbers")
    return np.asarray(array, np.float64)


def increasing(name: str, values: Any, declared: Any) -> tuple[Any, ...]:
    """Return a sequence of declared numbers that increases as a tuple, or refuse it.

    Raises ValueError for a value that is no sequence of at least one, for the first entry that
    ``check`` refuses, and for the first that is not larger than the one before.
    """
    if isinstance(values, str) or np.ndim(values) != 1 or len(values) < 1:
        raise ValueError(f"{name} = {shown(values)}: must be one or more numbers that increase")
    numbers = tuple(checked(f"{name}[{i}]", value, declared) for i, value in enumerate(values))
    for i, (low, high) in enumerate(itertools.pairwise(numbers)):
        if not low < high:
            raise ValueError(f"{name}[{i + 1}] = {high}: must be > {low}, the one before")
    return numbers


def refuse_first(name: str, values: np.ndarray, allowed: Any, what: str) -> None:
    """Refuse an array unless all of it is ``allowed``, a mask of its shape or of leading axes.

    Raises ValueError with the place and the value of the first entry that is not allowed.
    """
    mask = np.asarray(allowed)
    if not np.all(mask):
        place = tuple(np.argwhere(~mask)[0])
        value = " ".join(str(values[place]).split())
        entry = f"[{', '.join(map(str, place))}]" if place else ""
        raise ValueError(f"{name}{entry} is {value}; {what}")


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
