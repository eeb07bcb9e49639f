"""Losses in the plane whose valleys cross at the origin, for NumPy and JAX alike.

The prior is uniform on the square |x| ≤ 1, |y| ≤ 1, and K = L here: all data say the same.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from slt_jax import theory
from slt_jax.theory import Theory

Kind = Literal["min_abs", "min_squares", "kept_cross", "softmin", "product"]

FORMULAS: dict[Kind, str] = {
    "min_abs": "min(|x|,|y|)",
    "min_squares": "min(x²,y²)",
    "kept_cross": "x²y²/(x²+y²+1/k)",
    "softmin": "softmin(x²,y²)",
    "product": "x²y²",
}
SMOOTHED: tuple[Kind, ...] = ("kept_cross", "softmin")


class Landscape(NamedTuple):
    """A loss K(x, y) ≥ 0, even in both and symmetric; ``sharpness`` is k of the smoothed ones.

    ``softmin`` is −(1/k) log((exp(−kx²) + exp(−ky²))/2), which is 0 at the origin alone.
    """

    kind: Kind
    sharpness: float = 1.0

    @property
    def name(self) -> str:
        """The formula, with k where there is one."""
        smoothed = f", k={self.sharpness:g}" if self.kind in SMOOTHED else ""
        return FORMULAS[self.kind] + smoothed

    @property
    def slug(self) -> str:
        """A name that is fit for a file."""
        return f"{self.kind}_{self.sharpness:g}" if self.kind in SMOOTHED else self.kind

    def energy(self, x: Any, y: Any, xp: Any) -> Any:
        """Compute K of arrays of one shape with the functions of ``xp``, NumPy's or JAX's."""
        return ENERGIES[self.kind](x, y, self.sharpness, xp)

    def at_valley(self) -> Theory | None:
        """Return λ and m at a point of one valley, None where valleys are no minima."""
        if self.kind == "softmin":
            return None
        return VALLEY_OF_ABS if self.kind == "min_abs" else theory.regular(1)

    def at_crossing(self) -> Theory:
        """Return λ and m at the origin."""
        match self.kind:
            case "min_abs":
                return CROSSING_OF_ABS
            case "min_squares":
                return CROSSING_OF_SQUARES
            case "softmin":
                return theory.regular(2)
            case _:
                # The denominator of the kept cross is between 1/k and 2 + 1/k.
                return theory.monomial((1, 1))


def _softmin(x: Any, y: Any, k: Any, xp: Any) -> Any:
    # −log((1 + e^−u)/2) without the loss of digits at small u.
    apart = k * xp.abs(x**2 - y**2)
    return xp.minimum(x**2, y**2) - xp.log1p(xp.expm1(-apart) / 2) / k


ENERGIES: dict[Kind, Callable[[Any, Any, Any, Any], Any]] = {
    "min_abs": lambda x, y, k, xp: xp.minimum(xp.abs(x), xp.abs(y)),
    "min_squares": lambda x, y, k, xp: xp.minimum(x**2, y**2),
    "kept_cross": lambda x, y, k, xp: x**2 * y**2 / (x**2 + y**2 + 1 / k),
    "softmin": _softmin,
    "product": lambda x, y, k, xp: x**2 * y**2,
}
"""K of (x, y, k, functions of arrays), by kind; their order is that of the sampled losses."""

VALLEY_OF_ABS = Theory(Fraction(1), 1, "exact", "K = |x|: V(ε) is proportional to ε")
CROSSING_OF_ABS = Theory(Fraction(1), 1, "exact", "V(ε) = 2ε − ε²")
CROSSING_OF_SQUARES = Theory(Fraction(1, 2), 1, "exact", "V(ε) = 2√ε − ε")


def landscapes(sharpnesses: tuple[float, ...]) -> list[Landscape]:
    """List all losses, the smoothed ones at each of the ``sharpnesses``."""
    smoothed = [Landscape(kind, k) for kind in SMOOTHED for k in sharpnesses]
    return [Landscape("min_abs"), Landscape("min_squares"), *smoothed, Landscape("product")]


def sampled_landscapes(sharpnesses: tuple[float, ...]) -> list[Landscape]:
    """List the losses that are sampled too, the smoothed ones at the first k."""
    smoothed = [Landscape(kind, sharpnesses[0]) for kind in SMOOTHED]
    return [Landscape("min_abs"), *smoothed, Landscape("product")]
