"""Posterior mass near given functions: exact for one datum, and by any sampler's draws.

A function f = Σ_k c_k φ_k is near f* if ‖f − f*‖ < r in L²(q(x)): its coefficients lie in an
ellipsoid δᵀGδ < r² with G = E φφᵀ and δ = c − c*. Coefficient k is a product of j_k independent
N(0, 1) parameters, and the first one (the innermost integral) is a single parameter.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import cholesky
from scipy.special import ndtr

from slt_jax.curves.jobs import in_precision, target_of, unfinished_reason
from slt_jax.data import statistics_of
from slt_jax.estimators import diagnostics, mean_over_seeds
from slt_jax.models.skalse import SkalsePolynomial
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.laws.products import STEP, log_modulus_density
from slt_jax.oracles.quadrature import Rule
from slt_jax.problem import Problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.nuts import NUTSSettings, nuts
from slt_jax.samplers.smc import SMCSettings, tempered_smc
from slt_jax.statistics import Data

from . import Config
from .truths import FACTORS, FUNCTIONS, gram, targets

ROUTES = ("exact", "NUTS", "SMC")
MAX_R_HAT = 1.05
MIN_ESS = 400.0
SAFETY = 10.0
FEWER = 6
SMALLEST = -25.0
STRIDE = 8
FREQUENCY_STEP = 1 / 64

Floats = NDArray[np.float64]


def masses(config: Config, key: Array, noise: float) -> xr.Dataset:
    """Compute the posterior mass near 1, x, …, x⁴ given the one datum (1, 1) and its noise.

    ``posterior_mass`` [route, function, radius] is exact with an error bound, or sampled with a
    standard error over NUTS chains or SMC runs: ``posterior_mass_error``.
    ``posterior_mass_converged`` and ``posterior_mass_reason`` [route] say which can be trusted.
    For the coefficient of each function ``density_at_one`` [function] is its prior density at 1,
    and ``density_near_zero`` [function, radius] its mean within a radius of the zero function.
    """
    coefficients, reasons = sampled_coefficients(config, key, noise)
    shape = (len(ROUTES), len(FUNCTIONS), len(config.radii))
    mass, error = np.zeros(shape), np.zeros(shape)
    metric = gram()
    for f, function in enumerate(FUNCTIONS):
        centre = targets(function)
        for r, radius in enumerate(config.radii):
            exact = mass_near(
                FACTORS, centre, metric, radius, (1.0,) * 5, 1.0, noise, config.quadrature_nodes
            )
            mass[0, f, r], error[0, f, r] = exact.value, exact.error
            for m, route in enumerate(ROUTES[1:], start=1):
                inside = near(coefficients[route], centre, metric, radius)
                estimate = mean_over_seeds(inside.mean(axis=1))
                mass[m, f, r], error[m, f, r] = estimate.value, estimate.standard_error
    reach = np.sqrt(np.diag(np.linalg.inv(metric)))[::-1]
    near_zero = [
        [density_near_zero(j, radius * width, len(FACTORS)) for radius in config.radii]
        for j, width in zip(FACTORS[::-1], reach, strict=True)
    ]
    at_one = [float(density_at(j, 1.0)) for j in FACTORS[::-1]]
    every = ["", *(reasons[route] for route in ROUTES[1:])]
    return xr.Dataset(
        {
            "posterior_mass": (("route", "function", "radius"), mass),
            "posterior_mass_error": (("route", "function", "radius"), error),
            "posterior_mass_reason": ("route", every),
            "posterior_mass_converged": ("route", [reason == "" for reason in every]),
            "density_at_one": ("function", at_one),
            "density_near_zero": (("function", "radius"), near_zero),
        },
        coords={
            "route": list(ROUTES), "function": list(FUNCTIONS), "radius": list(config.radii),
        },
    )  # fmt: skip


def sampled_coefficients(
    config: Config, key: Array, noise: float
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Sample the coefficients given the datum (1, 1), by NUTS and by SMC.

    Returns coefficients [chain or run, draw, 5] by route, and the reason, empty where there is
    none, for which a route has not converged.
    """
    model = SkalsePolynomial(noise=noise)
    problem = Problem("one_datum", model, {"theta": np.zeros(sum(FACTORS))})
    statistics = statistics_of(problem, Data(jnp.ones(1), jnp.ones((1, 1))))
    statistics = in_precision(statistics, jnp.zeros(()).dtype)
    target = target_of(model)
    nuts_key, start_key, smc_key = jax.random.split(key, 3)
    starts = jax.vmap(target.sample_prior)(jax.random.split(start_key, config.chains))
    nuts_settings = NUTSSettings(
        config.draws // 2, config.draws, target_acceptance=config.nuts_acceptance
    )
    chains = nuts_run(target, nuts_settings, nuts_key, statistics, 1.0, starts)
    smc_settings = SMCSettings(config.smc_chains, config.smc_chain_length)
    seeds, betas = jax.random.split(smc_key, config.chains), jnp.ones(1)
    step_size = jnp.asarray(config.smc_step_size)
    runs = smc_runs(target, smc_settings, seeds, statistics, betas, step_size)
    population = runs.node_positions.reshape(config.chains, -1, sum(FACTORS))
    coefficients = {
        "NUTS": coefficients_of(model, chains.positions),
        "SMC": coefficients_of(model, population),
    }
    judged = diagnostics.judge(
        np.concatenate([chains.energies[..., None], coefficients["NUTS"]], -1),
        num_divergent=chains.num_divergent,
        thresholds=diagnostics.Thresholds(max_r_hat=MAX_R_HAT, min_ess=MIN_ESS),
    )
    return coefficients, {
        "NUTS": "" if judged.converged else judged.reason,
        "SMC": unfinished_reason(runs, float(statistics.log_likelihood_at_optimum)),
    }


def coefficients_of(model: SkalsePolynomial, positions: Array) -> np.ndarray:
    """Return c(w) [..., 5] of flat parameters [..., 15]."""
    flat = jnp.reshape(positions, (-1, positions.shape[-1]))
    coefficients = jax.vmap(lambda theta: model.coefficients({"theta": theta})[:, 0])(flat)
    return np.asarray(coefficients, float).reshape(*positions.shape[:-1], len(FACTORS))


@functools.cache
def product_density(factors: int) -> CubicSpline:
    """Return the density of a product of ``factors`` normals as a function of log|c|, times |c|.

    p(c) = spline(log|c|)/|c|; symmetric in c, and infinite at 0 from two factors on.
    """
    grid, density = log_modulus_density((1,) * factors)
    return CubicSpline(grid, density / 2)


def near(coefficients: ArrayLike, centre: ArrayLike, metric: ArrayLike, radius: float) -> Floats:
    """Return 1 where ‖f − f*‖ < radius and 0 elsewhere, from coefficients [..., K]; shape [...]."""
    delta = np.asarray(coefficients, float) - np.asarray(centre, float)
    distance = np.einsum("...k,kl,...l->...", delta, np.asarray(metric, float), delta)
    return np.asarray(distance < radius**2, float)


def one_datum_evidence(
    factors: Sequence[int], features: ArrayLike, y: ArrayLike, noise: float
) -> Floats:
    """Compute Z = p(y) of one datum y = Σ_k c_k φ_k + N(0, noise²), shape of ``y``.

    The inverse Fourier transform of ∏_k E exp(itφ_k c_k) times the noise's; conditionally on all
    but one of its parameters a product is normal, so that each factor is E exp(−t²φ_k²s²/2) > 0.
    The trapezoid rule is spectrally accurate. Raises ValueError for noise that is not positive.
    """
    if not 0 < noise < math.inf:
        raise ValueError(f"noise = {noise}: must be positive and finite")
    features, y = np.asarray(features, float), np.asarray(y, float)
    widths = noise**2 + sum(f**2 for j, f in zip(factors, features, strict=True) if j == 1)
    t = np.arange(0, 9 / math.sqrt(widths), FREQUENCY_STEP * min(1.0, 1 / math.sqrt(widths)))
    log_transform = -0.5 * widths * t**2
    for count, feature in zip(factors, features, strict=True):
        if count > 1:
            grid, density = log_modulus_density((1,) * (count - 1))
            kept = np.flatnonzero(grid > SMALLEST)[::STRIDE]
            masses = density[kept] * STEP * STRIDE
            damped = np.exp(-np.multiply.outer((t * feature) ** 2, np.exp(2 * grid[kept]) / 2))
            # What lies below the smallest is a modulus of 0.
            log_transform += np.log(damped @ masses + 1 - masses.sum())
    cosines = np.cos(np.multiply.outer(y, t))
    values = np.exp(log_transform)
    values[0] /= 2
    return np.asarray(cosines @ values * t[1] / math.pi)


def mass_near(
    factors: Sequence[int],
    centre: Sequence[float],
    metric: ArrayLike,
    radius: float,
    features: Sequence[float],
    y: float,
    noise: float,
    nodes: int = 22,
) -> Exact:
    """Compute the posterior probability of ‖f − f*‖ < radius given one datum (features φ(x), y).

    Nested Gauss rules over the ellipsoid, split at c_k = 0 where the densities are
    singular; the first coefficient, one normal parameter, is integrated in closed form. The error
    bound is ten times the difference to a rule of six ``nodes`` fewer; a mass takes (2·nodes)⁴
    points at most. Raises ValueError unless the first coefficient has one factor, and for a
    radius or noise that is not positive and fewer than 8 nodes.
    """
    if nodes < FEWER + 2:
        raise ValueError(f"nodes = {nodes}: must be at least {FEWER + 2}")
    if factors[0] != 1 or min(factors) < 1:
        raise ValueError(f"factors = {tuple(factors)}: the first must be 1, the others at least 1")
    if not 0 < radius < math.inf:
        raise ValueError(f"radius = {radius}: must be positive and finite")
    evidence = float(one_datum_evidence(factors, features, y, noise))
    root = cholesky(np.asarray(metric, float))
    coarse, fine = (
        _joint(factors, np.asarray(centre, float), root, radius, features, y, noise, count)
        for count in (nodes - FEWER, nodes)
    )
    value = fine / evidence
    return Exact(np.asarray(value), np.asarray(SAFETY * abs(fine - coarse) / evidence))


def density_at(factors: int, c: ArrayLike) -> Floats:
    """Compute the prior density of a product of ``factors`` normals at c ≠ 0, per unit of c."""
    modulus = np.abs(np.asarray(c, float))
    spline = product_density(factors)
    logs = np.log(modulus)
    return np.asarray(np.where(logs > spline.x[0], spline(logs), 0.0) / modulus)


def density_near_zero(factors: int, reach: float, dimension: int) -> float:
    """Average the prior density of a coefficient over an ellipsoid at 0 that reaches to ±reach.

    ∫ p(reach·t) dν(t), ν the marginal (1 − t²)^{(dimension−1)/2} of a uniform ball. Where p is
    infinite at 0 it grows as (log 1/reach)^{factors−1}.
    """
    unit = _graded_unit(60)
    ball = (1 - unit.nodes**2) ** ((dimension - 1) / 2) * unit.weights
    return float(ball @ density_at(factors, reach * unit.nodes) / ball.sum())


def _joint(
    factors: Sequence[int],
    centre: Floats,
    root: Floats,
    radius: float,
    features: Sequence[float],
    y: float,
    noise: float,
    nodes: int,
) -> float:
    """Integrate prior times likelihood over the ellipsoid, outermost the last coefficient.

    With the metric G = RᵀR, R upper triangular, |Rδ| < r gives every coefficient an
    interval in terms of those after it.
    """
    unit = _graded_unit(nodes)
    delta = np.zeros((1, 0))
    weights, left = np.ones(1), np.full(1, radius**2)
    for k in range(len(factors) - 1, 0, -1):
        shift = centre[k] - delta @ root[k, k + 1 :] / root[k, k]
        half = np.sqrt(left) / root[k, k]
        c, measure = _split_at_zero(shift - half, shift + half, unit)
        rows = np.repeat(np.arange(len(weights)), c.shape[1])
        weights = weights[rows] * (measure * density_at(factors[k], c)).ravel()
        used = ((c - shift[:, None]) * root[k, k]).ravel()
        remaining = left[rows] - used**2
        keep = (weights > 0) & (remaining > 0)
        delta = np.column_stack([c.ravel() - centre[k], delta[rows]])[keep]
        weights, left = weights[keep], remaining[keep]
    shift = centre[0] - delta @ root[0, 1:] / root[0, 0]
    half = np.sqrt(left) / root[0, 0]
    # With a ~ N(0, 1) and y − rest = φa + noise the evidence and the posterior of a are normal.
    slope = float(features[0])
    rest = y - (delta + centre[1:]) @ np.asarray(features, float)[1:]
    variance = noise**2 + slope**2
    mean, sd = slope * rest / variance, noise / math.sqrt(variance)
    inside = ndtr((shift + half - mean) / sd) - ndtr((shift - half - mean) / sd)
    density = np.exp(-0.5 * rest**2 / variance) / math.sqrt(2 * math.pi * variance)
    return float(weights @ (inside * density))


def _graded_unit(nodes: int) -> Rule:
    """Return Gauss–Legendre nodes of t in u = t⁴(5 − 4t), for ∫₀¹ du.

    Near u = 0 logarithms become smooth enough, and near u = 1, the rim of the ellipsoid, square
    roots become linear.
    """
    t, weights = np.polynomial.legendre.leggauss(nodes)
    t = (t + 1) / 2
    return Rule(t**4 * (5 - 4 * t), 10 * t**3 * (1 - t) * weights)


def _split_at_zero(low: Floats, high: Floats, unit: Rule) -> tuple[Floats, Floats]:
    """Return c [N, 2·nodes] and weights on [low, 0] and [0, high], or on [low, high] alone."""
    middle = np.clip(0.0, low, high)[:, None]
    parts = [low[:, None] - middle, high[:, None] - middle]
    c = np.concatenate([middle + part * unit.nodes for part in parts], axis=1)
    return c, np.concatenate([np.abs(part) * unit.weights for part in parts], axis=1)


smc_runs = jit_at_first_call(tempered_smc, static_argnums=(0, 1))
nuts_run = jit_at_first_call(nuts, static_argnums=(0, 1))
