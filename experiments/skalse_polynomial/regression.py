"""Regression on many features whose coefficients are products of many normal parameters.

    y = Σ_i c_i φ_i(x) + N(0, σ²),      c_i = a_i s_i,  a_i ~ N(0, 1),  s_i = |product of J_i more|

Of a million parameters the data see one modulus s_i for each feature: a_i is integrated in closed
form, and the prior of log s_i is known exactly, so that the cost per feature does not depend on
how many factors a coefficient has. Given all other moduli the likelihood of s_i is a rank-one
formula; a Gibbs sampler that draws log s_i from a grid crosses in one move what is a plateau to
any gradient. n data cost O(n²) per feature and sweep.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, loggamma, polygamma, psi

from slt_jax.estimators import diagnostics, mean_over_seeds
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.run.precision import in_float64

from . import Config
from .posterior_mass import one_datum_evidence

Floats = NDArray[np.float64]

GRID = np.arange(-14.0, 20.0, 1 / 8)
POLE_DISTANCE = 0.5
CONTOUR_STEP = 0.16
STEEPEST = 3.0
HEAT = 10.0
PATTERNS = ("essay", "ascending")
TEST_POINTS = 128
MAX_R_HAT = 1.2


def scaled_up(config: Config, key: Array, degree: int, noise: float, pattern: str) -> xr.Dataset:
    """Sample the posterior mean of Σ_i c_i xⁱ, truth x, and compute its error out of sample.

    c_i is a product of degree − i + 1 normal parameters, or of i + 1 in the ``ascending`` pattern.
    ``prediction_error`` [scaled_replicate] is ∫(E[f] − x)² / ∫x² over U[−1, 1]: 1 for the function
    0. ``prediction_error_se`` is its Monte-Carlo error over chains; ``scaled_converged``
    [scaled_replicate] asks for R̂ of the log likelihood at most 1.2. At one datum
    ``sampled_mean`` ± ``sampled_mean_se`` is the posterior mean at the datum of the first data
    set, and ``exact_mean`` is y + σ² ∂ log p(y)/∂y. ``points`` is n.
    """
    n = degree // config.degrees_per_datum
    powers = np.arange(degree + 1)
    counts = powers if pattern == "ascending" else powers[::-1]
    data_key, chain_key = jax.random.split(key)
    x_key, y_key = jax.random.split(data_key)
    x = np.asarray(jax.random.uniform(x_key, (config.scaled_data_sets, n), minval=-1.0), float)
    y = x + noise * np.asarray(jax.random.normal(y_key, x.shape), float)
    nodes, weights = leggauss(TEST_POINTS)
    inputs = np.concatenate([nodes[:, None], x[:1, :1]])
    keys = jax.random.split(chain_key, (config.scaled_data_sets, config.scaled_chains))
    draws = gibbs(
        modulus_prior(counts.tolist()), x[:, :, None] ** powers, y, inputs**powers, noise, keys,
        config.sweeps, config.sweeps,
    )  # fmt: skip
    means = np.asarray(draws.predictions, float).mean(axis=2)
    error, spread = prediction_errors(means[..., :-1], nodes, weights)
    r_hat = diagnostics.r_hat(np.moveaxis(np.asarray(draws.log_likelihood, float), 0, -1))
    dataset = xr.Dataset(
        {
            "prediction_error": ("scaled_replicate", error),
            "prediction_error_se": ("scaled_replicate", spread),
            "r_hat": ("scaled_replicate", r_hat),
            "scaled_converged": ("scaled_replicate", r_hat <= MAX_R_HAT),
            "points": n,
        },
        coords={"scaled_replicate": np.arange(config.scaled_data_sets)},
    )
    if n == 1:
        sampled = mean_over_seeds(means[0, :, -1])
        dataset["sampled_mean"] = float(sampled.value)
        dataset["sampled_mean_se"] = float(sampled.standard_error)
        dataset["exact_mean"] = mean_at_datum(counts, float(x[0, 0]), float(y[0, 0]), noise)
    return dataset


def prediction_errors(means: Floats, nodes: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Compute ∫(E[f] − x)² / ∫x² and its standard error from means [R, C, m] of the C chains.

    ``nodes`` [m] and ``weights`` [m] are a quadrature rule on [−1, 1].
    """
    share = weights / (weights @ nodes**2)
    num_chains = means.shape[1]

    def error_of(prediction: Floats) -> Floats:
        return np.asarray((prediction - nodes) ** 2 @ share)

    # The error is quadratic in the mean over chains: leaving one out at a time gives its own.
    left_out = (means.sum(axis=1, keepdims=True) - means) / (num_chains - 1)
    spread = error_of(left_out).std(axis=1) * math.sqrt(num_chains - 1)
    return error_of(means.mean(axis=1)), spread


def mean_at_datum(counts: NDArray[np.int64], x: float, y: float, noise: float) -> float:
    """Compute E[f(x) | y] = y + σ² ∂ log p(y)/∂y given one datum (x, y), by Tweedie's formula.

    Coefficient i is a product of ``counts[i]`` + 1 normal parameters.
    """
    step = noise * 1e-3
    around = y + step * np.array([-1.0, 1.0])
    features = x ** np.arange(len(counts))
    log_evidence = np.log(one_datum_evidence((counts + 1).tolist(), features, around, noise))
    return y + noise**2 * float(np.diff(log_evidence)[0]) / (2 * step)


def log_moment(s: Floats | float) -> Floats:
    """Compute κ(s) = log E|w|^s of w ~ N(0, 1), which exists for s > −1.

    κ(s) = (s/2) log 2 + log Γ((s+1)/2) − (1/2) log π.
    """
    return np.asarray(s * np.log(2) / 2 + gammaln((np.asarray(s) + 1) / 2) - np.log(np.pi) / 2)


def decay_rate() -> float:
    """Compute −min_s κ(s), the nats per factor that P(|product of J factors| > 1) costs, J → ∞.

    Cramér's theorem for log|w|, whose mean is negative.
    """
    return -float(minimize_scalar(log_moment, bounds=(0.0, 3.0), method="bounded").fun)


def log_product_density(count: int, log_modulus: Floats) -> Floats:
    """Compute the log density of u = log|∏ of ``count`` standard normals| at ``log_modulus`` [N].

    Mellin inversion (1/2π)∫ exp(count·κ(s+it) − (s+it)u) dt through the saddle point, by the
    trapezoid rule: relative accuracy also far in the tails, where a convolution has only absolute
    accuracy, and for any count. −∞ where u > 3·count, which has probability below exp(−200).
    Raises ValueError for count < 1.
    """
    if count < 1:
        raise ValueError(f"count = {count}: a product has at least one factor")
    every = np.asarray(log_modulus, float)
    within = every <= STEEPEST * count
    u = every[within]
    reals = np.concatenate([np.linspace(-POLE_DISTANCE, 3, 400), np.geomspace(3.01, 2000, 400)])
    slopes = np.log(2) / 2 + psi((reals + 1) / 2) / 2
    saddle = np.interp(u / count, slopes, reals)
    widths = 1 / np.sqrt(count * polygamma(1, (saddle + 1) / 2) / 4)
    reach = np.maximum(12 * widths, 48 / count)
    steps = np.minimum(widths / 3, CONTOUR_STEP * (saddle + 1))
    points = int(np.ceil(np.max(reach / steps)))
    s = saddle[:, None] + 1j * np.multiply.outer(reach, np.arange(points + 1) / points)
    exponent = count * (s * np.log(2) / 2 + loggamma((s + 1) / 2) - np.log(np.pi) / 2)
    exponent -= s * u[:, None]
    peak = exponent[:, :1].real
    values = np.exp(exponent - peak).real
    values[:, 0] /= 2
    total = values.sum(axis=1) * reach / points / np.pi
    logs = np.full(every.shape, -np.inf)
    with np.errstate(divide="ignore"):
        logs[within] = np.log(np.maximum(total, 0.0)) + peak[:, 0]
    return logs


class ModulusPrior(NamedTuple):
    """The prior of the modulus of every feature on one grid: s² [G] and log probability [p, G].

    The first entry is s = 0 and stands for all s below the second.
    """

    squares: Array | Floats
    logs: Array | Floats


def modulus_prior(counts: Sequence[int]) -> ModulusPrior:
    """Compute the prior of s_i, a product of ``counts[i]`` ≥ 0 normals, on a grid of log s.

    s = 1 for a product of none. Raises ValueError for a negative count.
    """
    squares = np.concatenate([[0.0], np.exp(2 * GRID)])
    step = GRID[1] - GRID[0]
    with np.errstate(divide="ignore"):
        rows = {}
        for count in set(counts):
            if count == 0:
                masses = (np.abs(GRID) < step / 2).astype(float)
            else:
                masses = np.exp(log_product_density(count, GRID)) * step
            rows[count] = np.log(np.concatenate([[max(1 - masses.sum(), 0.0)], masses]))
    return ModulusPrior(squares, np.stack([rows[count] for count in counts]))


class GibbsDraws(NamedTuple):
    """Draws of C chains for each of R data sets.

    ``predictions`` [R, C, draw, m] are E[f | moduli, data] at m test inputs, and
    ``log_likelihood`` [R, C, draw] is log p(y | moduli) in nats.
    """

    predictions: Array
    log_likelihood: Array


@in_float64
def gibbs(
    prior: ModulusPrior,
    features: ArrayLike,
    y: ArrayLike,
    test_features: ArrayLike,
    noise: float,
    keys: Array,
    num_warmup: int,
    num_draws: int,
) -> GibbsDraws:
    """Sample the moduli by collapsed Gibbs sweeps, for R data sets with C chains each.

    ``features`` [R, n, p], ``y`` [R, n], ``test_features`` [m, p], ``keys`` [R, C]. A draw is a
    sweep over all features in their order. Chains start at a draw from the prior, and the noise
    falls from ten times its value in the first half of warm-up: chains that are cooled at once
    stay with the first feature that explains anything. Raises ValueError for shapes that do not
    fit and for noise that is not positive.
    """
    shapes = [np.shape(values) for values in (features, y, test_features, prior.logs)]
    fits = [len(shape) for shape in shapes] == [3, 2, 2, 2] and shapes[0][:2] == shapes[1]
    if not fits or not shapes[0][2] == shapes[2][1] == shapes[3][0]:
        raise ValueError(f"shapes {shapes}: must be [R, n, p], [R, n], [m, p] and [p, grid]")
    if not 0 < noise < np.inf:
        raise ValueError(f"noise = {noise}: must be positive and finite")
    tables = ModulusPrior(*(jnp.asarray(table, jnp.float64) for table in prior))
    phi, target, test, sigma = (
        jnp.asarray(values, jnp.float64) for values in (features, y, test_features, noise)
    )
    return compiled_chains(tables, phi, target, test, sigma, keys, num_warmup, num_draws)


def gibbs_chains(
    prior: ModulusPrior,
    features: Array,
    y: Array,
    test_features: Array,
    noise: Array,
    keys: Array,
    num_warmup: int,
    num_draws: int,
) -> GibbsDraws:
    """Run the chains of ``gibbs``, whose arguments these are, as one program."""
    done = 2 * jnp.arange(num_warmup + num_draws) / max(num_warmup, 1)
    heats = HEAT ** jnp.maximum(1 - done, 0.0)

    def sweep(phi: Array, target: Array, squares: Array, heat: Array, key: Array) -> Array:
        gumbel = jax.random.gumbel(key, (len(squares), len(prior.squares)))

        def update(state: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[Any, None]:
            (inverse, squares), (i, noise_of_draw) = state, inputs
            column, old = phi[:, i], squares[i]
            solved = inverse @ column
            with_own, score = column @ solved, solved @ target
            # Without feature i: q = φᵀC⁻¹φ and h = φᵀC⁻¹y of the others' covariance.
            shrink = 1 - old * with_own
            q, h = with_own / shrink, score / shrink
            damping = 1 + prior.squares * q
            gain = 0.5 * (prior.squares * h**2 / damping - jnp.log(damping))
            new = prior.squares[jnp.argmax(prior.logs[i] + gain + noise_of_draw)]
            change = new - old
            inverse = inverse - jnp.outer(solved, solved) * (change / (1 + change * with_own))
            return (inverse, squares.at[i].set(new)), None

        # The inverse is made afresh every sweep, so that rounding does not add up.
        root = covariance_root(phi, squares, heat * noise)
        inverse = jax.scipy.linalg.cho_solve((root, True), jnp.eye(len(phi)))
        start = (inverse, squares)
        return jax.lax.scan(update, start, (jnp.arange(len(squares)), gumbel))[0][1]

    def chain(phi: Array, target: Array, key: Array) -> tuple[Array, Array]:
        start_key, run_key = jax.random.split(key)
        squares = prior.squares[jax.random.categorical(start_key, prior.logs)]

        def advance(squares: Array, inputs: tuple[Array, Array]) -> tuple[Array, Any]:
            heat, sweep_key = inputs
            squares = sweep(phi, target, squares, heat, sweep_key)
            root = covariance_root(phi, squares, noise)
            weights = jax.scipy.linalg.cho_solve((root, True), target)
            mean = (test_features * squares) @ (phi.T @ weights)
            log_det = jnp.sum(jnp.log(2 * jnp.pi * jnp.diagonal(root) ** 2))
            return squares, (mean, -0.5 * (log_det + target @ weights))

        keys = jax.random.split(run_key, num_warmup + num_draws)
        _, (means, fits) = jax.lax.scan(advance, squares, (heats, keys))
        return means[num_warmup:], fits[num_warmup:]

    over_chains = jax.vmap(chain, (None, None, 0))
    return GibbsDraws(*jax.vmap(over_chains)(features, y, keys))


def covariance_root(phi: Array, squares: Array, noise: Array) -> Array:
    """Return the Cholesky root of the covariance of y given the moduli, [n, n]."""
    covariance = (phi * squares) @ phi.T + noise**2 * jnp.eye(len(phi))
    return jnp.linalg.cholesky(covariance)


compiled_chains = jit_at_first_call(gibbs_chains, static_argnums=(6, 7))
