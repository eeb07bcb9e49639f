"""Nets near a truth in local coordinates, and the theory of their degeneracies.

Near parameters with b ≠ 0 a unit a·relu(bx + c) is s·relu(x − t), up to a line that others take up
where b < 0, with the slope change s = a|b| and the breakpoint t = −c/b. The third coordinate is the
unit's scale, on which f does not depend, so that λ near a net is that of (s, t) alone. A function
with k kinks is represented by H units in several ways. Let a cluster be m units whose breakpoints
are at one place, u_i their distances from it, Σ s_i = S, A = Σ s_i − S and B = Σ s_i u_i. Beyond
the cluster f − f₀ is the line A(x − t₀) − B; what is left within it is homogeneous of degree 3/2 in
u, in the norm of L². Hence, for slope changes no part of which sums to zero,

    K ≍ A² + B² + |u|³.

- merged on a kink, S ≠ 0: A and B cost ½ each, and the m − 1 directions of u with B = 0 cost 1/3
  each: λ = 1 + (m − 1)/3. The slope changes are free but for their sum: a fibre of dimension m − 1.
- annihilated, S = 0: there is no kink, K depends on differences of breakpoints alone, and
  λ = 1 + (m − 2)/3. The common place is free too: a fibre of dimension m.
- silent, s = 0, at a place of its own: λ = ½ and a fibre of dimension 1, its place.
- dead, with a breakpoint outside of the inputs: λ = 0 and a fibre of dimension 2.

None of these has m > 1. Clusters that are apart add up, and so do their fibres. The rank R of the
Fisher matrix bounds λ from below, and the dimension D of the fibre from above:
R/2 ≤ λ ≤ (2H − D)/2.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOISE = 0.1
PRIOR_SCALE = 0.25
CENTRE = 0.5
REACH = 0.25
SLOPES = {"same sign": (1.0, 1.0), "annihilating": (1.0, -1.0)}
LIMITS = {"same sign": Fraction(4, 3), "annihilating": Fraction(1)}
APART = Fraction(2)
WAYS = ("merged", "silent", "dead")


class Level(NamedTuple):
    """A crossing that is looked for: λ(n) of a ``kind`` of pair above that without a gap.

    ``excess`` is the level of the difference, ``last`` says which of the upward crossings, and
    ``exponent`` is p of n ~ gap^−p, as derived.
    """

    kind: str
    excess: float
    last: bool
    exponent: int


# Half of what is between a merged pair and two units; and for the place of an annihilating pair
# half of what is between the dip that it has at the least, 3/2, and two units.
LEVELS = {
    "same sign, gap seen": Level("same sign", 1 / 3, False, 3),
    "annihilating, gap seen": Level("annihilating", 1 / 2, False, 2),
    "annihilating, place seen": Level("annihilating", 3 / 4, True, 3),
}


class Net(NamedTuple):
    """A neighbourhood of H units and the truth in it; arrays [H].

    f₀ = Σ_h true_slopes_h relu(x − kinks_h), and the prior is s_h ~ N(slopes_h, PRIOR_SCALE²),
    t_h ~ U[low_h, high_h].
    """

    true_slopes: Floats
    kinks: Floats
    slopes: Floats
    low: Floats
    high: Floats


def pair(kind: str, gap: float) -> Net:
    """Return two units whose breakpoints are a ``gap`` apart, in one box around the middle."""
    slopes = np.array(SLOPES[kind])
    kinks = CENTRE + np.array([-gap / 2, gap / 2])
    box = np.full(2, CENTRE)
    return Net(slopes, kinks, slopes, box - REACH, box + REACH)


def hardest_loss(kind: str, gap: float) -> float:
    """Compute K of the nearest net without the gap, in nats per datum, to leading order in it.

    Two equal kinks are nearly one of twice the size between them, but for a hat of height g/2 on a
    base of g: ∫(f − f₀)² = g³/12. Two opposite ones are a ramp of height g, and nearly nothing:
    g² times the length of the inputs beyond.
    """
    square = gap**3 / 12 if kind == "same sign" else gap**2 * (1 - CENTRE)
    return square / (2 * NOISE**2)


def translation_loss(gap: float, distance: float) -> float:
    """Compute K in nats per datum after both annihilating breakpoints move by a ``distance`` ≥ gap.

    The ramp of height g has moved: ∫(f − f₀)² = g²(distance − g/3), which is 0 at g = 0 alone.
    """
    return gap**2 * (distance - gap / 3) / (2 * NOISE**2)


class Representation(NamedTuple):
    """One way in which H units represent a function of k kinks."""

    units: int
    kinks: int
    way: str

    @property
    def name(self) -> str:
        """The words for a table."""
        if self.surplus == 0:
            return "all distinct"
        return "annihilated" if self.way == "merged" and self.kinks == 0 else self.way

    @property
    def surplus(self) -> int:
        """The number of units that the function does not need."""
        return self.units - self.kinks

    @property
    def learning_coefficient(self) -> Fraction:
        """The local λ at a generic point."""
        cost = {"merged": Fraction(1, 3), "silent": Fraction(1, 2), "dead": Fraction(0)}[self.way]
        if self.way == "merged" and self.kinks == 0:
            return 1 + (self.units - 2) * cost
        return self.kinks + self.surplus * cost

    @property
    def fibre(self) -> int:
        """The dimension of the exact level set, without the scale of each unit."""
        return self.surplus * (2 if self.way == "dead" else 1)

    def net(self) -> Net:
        """Return the neighbourhood: kinks at places (h + ½)/H, boxes of half the way between.

        Units that are merged share the first box; a silent unit has a place of its own.
        """
        H, k = self.units, self.kinks
        places = (np.arange(H) + 0.5) / H
        needed = np.arange(H) < k
        true_slopes, slopes = needed.astype(float), needed.astype(float)
        if self.way == "merged" and self.surplus:
            together = ~needed if k == 0 else (~needed | (np.arange(H) == 0))
            slopes[together] = 1.0
            places[together] = places[0]
            if k == 0:
                slopes[-1] = 1.0 - H
            else:
                true_slopes[0] = together.sum()
        reach = 0.25 / H
        return Net(true_slopes, places, slopes, places - reach, places + reach)


def representations(units: int, ways: tuple[str, ...] = WAYS) -> list[Representation]:
    """List the ways of all functions with 0 to H kinks, the one of H kinks once."""
    several = [Representation(units, k, way) for k in range(units) for way in ways]
    return [*several, Representation(units, units, ways[0])]


def nullity(representation: Representation) -> int:
    """Count the directions of (a, b, c) in which f does not change to first order, less H scales.

    The rank is that of the derivatives on 2000 inputs, by their singular values, at slopes b that
    differ from unit to unit.
    """
    net, H = representation.net(), representation.units
    surplus = np.arange(H) >= representation.kinks
    dead = surplus & (representation.way == "dead")
    b = 1 + 0.3 * np.arange(H)
    a, t = net.slopes / b, np.where(dead, 1.5, net.kinks)
    a[dead] = 1.0
    x = (np.arange(2000) + 0.5) / 2000
    hidden = np.maximum(b * (x[:, None] - t), 0)
    active = a * (hidden > 0)
    singular = np.linalg.svd(np.hstack([hidden, active * x[:, None], active]), compute_uv=False)
    rank = int(np.sum(singular > 1e-9 * singular[0]))
    return 3 * H - rank - H
