"""Checks of what a theorem is about: integers, and theories that are put together."""

from collections.abc import Iterable
from numbers import Integral


def checked_integer(name: str, value: object, minimum: int) -> int:
    """Return ``value`` as an int, or refuse it.

    Raises ValueError, naming the argument and its value, unless ``value`` is an integer (of Python
    or NumPy, but not a bool) and ≥ ``minimum``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name}={value!r} is not an integer; allowed: integers ≥ {minimum}")
    if int(value) < minimum:
        raise ValueError(f"{name}={value!r} is too small; allowed: integers ≥ {minimum}")
    return int(value)


def checked_integers(name: str, values: object, minimum: int) -> list[int]:
    """Return a sequence of integers, each of which ``checked_integer`` takes, as a list.

    Raises ValueError, naming the argument and its value, for anything else.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name}={values!r} is no sequence; allowed: integers ≥ {minimum}")
    return [checked_integer(f"{name}[{i}]", value, minimum) for i, value in enumerate(values)]
