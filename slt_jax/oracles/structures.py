"""What an oracle is told about a model: the block that has a closed form, and the latent rest.

A structure says how the parameters split into a Gaussian block, which is integrated out, and a
latent, of whose law every type here is one. How each law is integrated is the oracles' affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jax import Array

# In standard deviations: what lies beyond is 2e-17 of a normal law.
REACH = 8.5


class NoLatent(NamedTuple):
    """Every parameter is in the Gaussian block: the model is conjugate."""


class ProductLatent(NamedTuple):
    """Latent l is |∏_j w_{lj}^{e_lj}| of independent N(0, scale²) parameters, given by exponents.

    Each multiplies one entry of the Gaussian block, which absorbs the sign; the last latents
    belong to the last features.
    """

    exponents: tuple[tuple[int, ...], ...]
    scale: float = 1.0


class PowerLatent(NamedTuple):
    """The product ∏_j w_j^{e_j} with its sign; where no block multiplies it, the truth is 0."""

    exponents: tuple[int, ...]
    scale: float = 1.0


class PowersLatent(NamedTuple):
    """Powers w_j^{p_j} of independent N(0, scale²) parameters, each a coefficient by itself.

    The ``offset`` of its structure is linear in them and the ``basis`` constant.
    """

    exponents: tuple[int, ...]
    scale: float = 1.0


class UnitsLatent(NamedTuple):
    """``num_units`` exchangeable scalars b_h ~ N(0, scale²) whose sign the Gaussian block absorbs.

    ``reach`` bounds the |b| beyond which the prior mass is neglected (in units of ``scale``);
    ``peaks`` are the positive |b| at which the optimum has units.
    """

    num_units: int
    scale: float
    peaks: tuple[float, ...] = ()
    reach: float = 7.0


class MatrixLatent(NamedTuple):
    """A rows × columns matrix A of N(0, scale²) entries that enters through AᵀA only.

    ``direction`` is the row space of the optimum (columns of length ``columns``), empty if the
    truth is zero: the posterior is peaked around it.
    """

    rows: int
    columns: int
    scale: float = 1.0
    direction: tuple[float, ...] = ()


class LayersLatent(NamedTuple):
    """A product W_m…W_1 of N(0, scale²) matrices that enters through AᵀA only, as ``MatrixLatent``.

    ``rows`` [m] are those of W_1 to W_m, and W_1 has ``columns``.
    """

    rows: tuple[int, ...]
    columns: int
    scale: float = 1.0
    direction: tuple[float, ...] = ()


class HalvesLatent(NamedTuple):
    """Root sums of squares of the positive and of the negative of ``num_units`` N(0, scale²)."""

    num_units: int
    scale: float = 1.0


class Coordinate(NamedTuple):
    """A scalar on [low, high]: N(0, scale²), or uniform where ``scale`` is None.

    A normal law is cut to the interval: all of it but rounding must be there, or, where the
    Gaussian block absorbs the sign, the half above 0. ``singular`` are the points that the set of
    optima lies at, and n^−``rate`` the order of the narrowest structure of the posterior next to
    them.
    """

    low: float
    high: float
    scale: float | None = None
    singular: tuple[float, ...] = (0.0,)
    rate: float = 0.5


def normal_coordinate(
    scale: float, singular: Iterable[float] = (0.0,), *, half: bool = False, rate: float = 0.5
) -> Coordinate:
    """A coordinate of law N(0, scale²), or its ``half`` above 0, that may be singular at 0 too."""
    reach = REACH * scale
    points = sorted({0.0, *map(float, singular)})
    return Coordinate(0.0 if half else -reach, reach, scale, tuple(points), rate)


class BoxLatent(NamedTuple):
    """Independent coordinates, at most three, along which the set of optima lies.

    ``information`` bounds the total nats per datum and squared distance to that set.
    """

    coordinates: tuple[Coordinate, ...]
    information: float = 1.0


class CellsLatent(NamedTuple):
    """``num_units`` exchangeable units, each of the same independent coordinates, four in all.

    A latent lists the coordinates unit by unit. The rule is made of cells where the data ask for
    them: what is singular need lie on no axis. The ``design`` or ``basis`` of its structure takes
    the coordinates of any number of units, and has one entry or column for each.
    """

    coordinates: tuple[Coordinate, ...]
    num_units: int = 1


class KinksLatent(NamedTuple):
    """Two N(0, scale²) weights of a unit that is homogeneous in them, with kinks.

    The kinks lie where the weights are orthogonal to a datum, ``inputs`` of whose x are the two
    numbers that they multiply. ``angles`` are the directions of the true units.
    """

    inputs: Callable[[Array], Array]
    scale: float = 1.0
    angles: tuple[float, ...] = ()


Latent = (
    NoLatent
    | ProductLatent
    | PowerLatent
    | PowersLatent
    | UnitsLatent
    | MatrixLatent
    | LayersLatent
    | HalvesLatent
    | BoxLatent
    | CellsLatent
    | KinksLatent
)


def single_direction(linear_map: np.ndarray) -> tuple[float, ...]:
    """Row space of a map [output, input] of rank one, as a unit vector; empty for other ranks."""
    _, singular_values, rows = np.linalg.svd(np.asarray(linear_map, float))
    rank = int(np.sum(singular_values > 1e-6 * max(1.0, singular_values[0])))
    return tuple(float(v) for v in rows[0]) if rank == 1 else ()


class Strip(NamedTuple):
    """Where functions of a datum are analytic: within ``singularity``/|w| of the real axis.

    |w| is the largest entry of the latent, and ``steepest`` as large as the prior makes it.
    """

    singularity: float
    steepest: float

    def half_width(self, steepest: float | None = None) -> float:
        """Half of the width of the strip at latents up to ``steepest``."""
        return self.singularity / max(self.steepest, steepest or 0.0)


class Interpolation(NamedTuple):
    """How far the columns of a design, interpolated in x, are from what they stand for.

    ``largest`` maps latents [N, l] to the length [N] of the vector of the columns' largest errors,
    ``at_points`` to their errors [N, point, k] at points that see the largest ones to a factor 2.
    """

    largest: Callable[[np.ndarray], np.ndarray]
    at_points: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Collapse:
    """Exact structure c(w) = offset(latent) + basis(latent) @ block, block ~ N(0, scale²) i.i.d.

    The block is integrated out in closed form and the latent by quadrature. ``basis`` maps a
    latent [l] to [p, k] (k may be 0) and ``offset`` to [p, q]; None means zero. ``interpolation``
    is there where the features only interpolate.
    """

    basis: Callable[[Array], Array]
    latent: Latent
    scale: float = 1.0
    offset: Callable[[Array], Array] | None = None
    interpolation: Interpolation | None = None


@dataclass(frozen=True)
class LinearBlock:
    """Exact structure f(x, w) = blockᵀ design(latent, x), block [k, q] ~ N(0, scale²) i.i.d.

    For a regression that is linear in some parameters without fixed features: the block is
    integrated out in closed form at a cost of n for each value of the latent. ``design`` maps a
    latent [l] and one x to [k]. ``sums`` maps a latent and statistics that is not of all data to
    Σ a_i d_i d_iᵀ [k, k], Σ a_i d_i y_iᵀ [k, q] and Σ a_i (|y_i|² − |y_i − f(x_i, w₀)|²), with d_i
    the design at x_i. Where x is few numbers, ``strip`` says where the design is analytic in each.
    ``odd``: the design at −x is minus that at x, and so is the optimum.
    """

    design: Callable[[Array, Array], Array]
    latent: BoxLatent | CellsLatent | KinksLatent
    scale: float = 1.0
    sums: Callable[[Array, Any], tuple[Array, Array, Array]] | None = None
    strip: Strip | None = None
    odd: bool = False


@dataclass(frozen=True)
class Direct:
    """Exact structure without a Gaussian block: all parameters are a function of the latent.

    ``params`` maps a latent [l] to the parameters w, and may be any change of variables under
    which the prior of w is the law of the latent. Where a datum is one number y, ``strip`` says
    where its log-likelihood is analytic in y.
    """

    params: Callable[[Array], Mapping[str, Any]]
    latent: BoxLatent
    strip: Strip | None = None


Structure = Collapse | LinearBlock | Direct
