"""Checks of the integers that index a theorem."""

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
