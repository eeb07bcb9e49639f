"""Exact sums over the outer layer of a model, and quasi-random ones over what is inside of it.

Given latents b, f = Φ_b a with a ~ N(0, I) and noise N(0, I), so that the posterior of a, its
evidence and the losses of a mixture over b are closed forms. A polynomial has no latent, and its
answers are exact.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from slt_jax.estimators import mean_over_seeds
from slt_jax.model import Regression
from slt_jax.run.precision import in_float64

from .families import Points, Sample, features

BAYES = (
    "free_energy", "wbic", "waic", "loo", "bic_energy", "bayes_error", "gibbs_error",
    "effective_size",
)  # fmt: skip


class Draws(NamedTuple):
    """Draws of posteriors: latents [cell, R, run, l] and outer weights [cell, R, run, p, q]."""

    latent: np.ndarray
    outer: np.ndarray


class _Block(NamedTuple):
    """The posterior of a given each of N latents: covariance [N, p, p], mean [N, p, q], log Z."""

    covariance: Array
    mean: Array
    log_evidence: Array
    log_peak: Array


def _factor(matrix: Array) -> Array:
    """Return the Cholesky factor L [..., p, p] of matrices LLᵀ, written out.

    The batched calls of LAPACK wait inside a thread of a pool for others of it: two at a time on a
    pool of two wait for ever.
    """
    size = matrix.shape[-1]
    rows: list[list[Array]] = [[] for _ in range(size)]
    for i in range(size):
        for j in range(i):
            known = sum((rows[i][k] * rows[j][k] for k in range(j)), jnp.zeros(()))
            rows[i].append((matrix[..., i, j] - known) / rows[j][j])
        rows[i].append(jnp.sqrt(matrix[..., i, i] - sum((x**2 for x in rows[i]), jnp.zeros(()))))
    return _lower(rows)


def _inverse(factor: Array) -> Array:
    """Return the inverse [..., p, p] of lower triangular matrices, written out."""
    size = factor.shape[-1]
    rows: list[list[Array]] = [[] for _ in range(size)]
    for i in range(size):
        for j in range(i):
            known = sum((factor[..., i, k] * rows[k][j] for k in range(j, i)), jnp.zeros(()))
            rows[i].append(-known / factor[..., i, i])
        rows[i].append(1 / factor[..., i, i])
    return _lower(rows)


def _lower(rows: list[list[Array]]) -> Array:
    zero = jnp.zeros_like(rows[0][0])
    full = [jnp.stack([*row, *[zero] * (len(rows) - len(row))], axis=-1) for row in rows]
    return jnp.stack(full, axis=-2)


def _block(phi: Array, y: Array, weights: Array) -> _Block:
    """Integrate the outer weights for features [N, n, p], outputs [n, q] and weights [n].

    log Z leaves out −(1/2)Σ weight |y|² and the constants of the noise, ``log_peak`` too, which is
    the largest log of likelihood times prior.
    """
    weighted = phi * weights[None, :, None]
    p = phi.shape[-1]
    precision = jnp.eye(p) + jnp.swapaxes(weighted, 1, 2) @ phi
    factor = _factor(precision)
    inverse = _inverse(factor)
    covariance = jnp.swapaxes(inverse, 1, 2) @ inverse
    cross = jnp.einsum("nip,iq->npq", weighted, y)
    mean = covariance @ cross
    peak = jnp.sum(cross * mean, axis=(1, 2)) / 2
    logs = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)), axis=1)
    return _Block(covariance, mean, peak - y.shape[1] * logs, peak)


def _at(block: _Block, phi: Array) -> tuple[Array, Array]:
    """Means [N, m, q] and variances [N, m] of f at features [N, m, p]."""
    return phi @ block.mean, jnp.sum((phi @ block.covariance) * phi, axis=-1)


def _errors(
    block: _Block, log_weights: Array, at_points: Array, points: Points, scale: Array
) -> tuple[Array, Array]:
    """Compute B_g and G_g, the excess over the truth's loss of the mixture over latents."""
    q = points.truth.shape[1]
    f, v = _at(block, at_points)
    gap = jnp.sum((f - scale * points.truth) ** 2, axis=-1)
    gibbs = points.weights @ (jnp.exp(log_weights) @ (gap + q * v)) / 2
    offset = log_weights[:, None] - q / 2 * jnp.log1p(v)

    def loss_at(noise: Array) -> Array:
        distance = gap + 2 * (scale * points.truth - f) @ noise + noise @ noise
        density = logsumexp(offset - distance / (2 * (1 + v)), axis=0)
        return -density - noise @ noise / 2

    bayes = points.noise_weights @ jax.lax.map(loss_at, points.noise) @ points.weights
    return bayes, gibbs


def _quantities(
    phi: Array, at_points: Array, points: Points, scale: Array, data: tuple[Array, Array, Array],
    keys: Array,
) -> dict[str, Array]:  # fmt: skip
    """Compute ``BAYES`` of one data set under one set of latents, relative to the truth.

    And a draw of the posterior for each of the keys: which latent, and its outer weights [p, q].
    """
    f0, noise, used = data
    y, q = scale * f0 + noise, f0.shape[1]
    n = jnp.sum(used)
    of_truth = jnp.sum(used[:, None] * noise**2) / 2
    block = _block(phi, y, used)
    log_weights = jax.nn.log_softmax(block.log_evidence)
    weights = jnp.exp(log_weights)
    mean, variance = _at(block, phi)
    # Rows of no datum have no variance that a datum takes away.
    variance = jnp.where(used > 0, variance, 0.0)
    residual = jnp.sum((y - mean) ** 2, axis=-1)
    squares = jnp.sum(noise**2, axis=-1) / 2

    def log_density(residual: Array, variance: Array) -> Array:
        return -residual / (2 * variance) - q / 2 * jnp.log(variance)

    predictive = logsumexp(log_weights[:, None] + log_density(residual, 1 + variance), axis=0)
    # Without a datum its residual is r/(1 − v) and its variance 1/(1 − v).
    without = log_density(residual / (1 - variance) ** 2, 1 / (1 - variance))
    left_out = -logsumexp(log_weights[:, None] - without, axis=0)
    each = -(residual + q * variance) / 2
    centre = weights @ each
    functional = weights @ ((each - centre) ** 2 + residual * variance + q * variance**2 / 2)
    cold = _block(phi, y, used / jnp.log(n))
    cold_mean, cold_variance = _at(cold, phi)
    energies = jnp.sum((y - cold_mean) ** 2, axis=-1) + q * cold_variance
    cold_weights = jax.nn.softmax(cold.log_evidence)
    best = jnp.argmax(block.log_peak)

    bayes, gibbs = _errors(block, log_weights, at_points, points, scale)

    def draw(key: Array) -> tuple[Array, Array]:
        latent_key, outer_key = jax.random.split(key)
        which = jax.random.categorical(latent_key, block.log_evidence)
        normal = jax.random.normal(outer_key, block.mean.shape[1:])
        return which, block.mean[which] + _factor(block.covariance[which]) @ normal

    which, outer = jax.vmap(draw)(keys)
    return {
        "drawn_latent": which,
        "drawn_outer": outer,
        "free_energy": -logsumexp(block.log_evidence) + jnp.log(len(phi))
        + jnp.sum(used[:, None] * y**2) / 2 - of_truth,
        "wbic": cold_weights @ (energies @ used) / 2 - of_truth,
        "waic": used @ (-predictive - squares + functional) / n,
        "loo": used @ (-left_out - squares) / n,
        "bic_energy": residual[best] @ used / 2 - of_truth,
        "bayes_error": bayes,
        "gibbs_error": gibbs,
        "effective_size": 1 / jnp.sum(weights**2),
    }  # fmt: skip


@functools.partial(jax.jit, static_argnames="model")
def _program(
    model: Regression, latent: Array, scales: Array, used: Array, points: Points,
    x: Array, truth: Array, noise: Array, keys: Array,
) -> dict[str, Array]:  # fmt: skip
    def of_data_set(data: tuple[Array, Array, Array, Array]) -> dict[str, Array]:
        x, truth, noise, keys = data

        def of_scramble(scramble: tuple[Array, Array]) -> dict[str, Array]:
            latent, keys = scramble
            phi, at_points = (
                features(model, latent, x),
                features(model, latent, jnp.asarray(points.x)),
            )

            def of_cell(cell: tuple[Array, Array, Array]) -> dict[str, Array]:
                scale, used, keys = cell
                return _quantities(phi, at_points, points, scale, (truth, noise, used), keys)

            found = jax.lax.map(of_cell, (scales, used, keys))
            return found | {"drawn_latent": latent[found["drawn_latent"]]}

        return jax.lax.map(of_scramble, (latent, keys))

    return jax.lax.map(of_data_set, (x, truth, noise, keys))


@in_float64
def posteriors(
    model: Regression, latent: np.ndarray, data: Sample, points: Points,
    cells: list[tuple[float, int]], seed: int, runs: int,
) -> tuple[dict[str, np.ndarray], Draws]:  # fmt: skip
    """Compute ``BAYES`` and their ``…_se`` of all data sets [cell, R], relative to the truth.

    ``cells`` are pairs of the noise over the truth's root mean square and n. F_n − nL_n(q), WBIC −
    nL_n(q) and the loss nL_n(ŵ) − nL_n(q) of BIC are total nats; WAIC, LOO, B_g and G_g are per
    datum. The standard errors are over scrambles [S, N, l], 0 where the answer is exact; the
    effective size is that of the poorest scramble. And so many draws of every posterior.
    """
    used = np.stack([np.arange(data.x.shape[1]) < n for _, n in cells]).astype(float)
    scales = np.array([1 / noise for noise, _ in cells])
    shape = (len(data.x), len(latent), len(cells), -(-runs // len(latent)))
    keys = jax.random.split(jax.random.key(seed), shape)
    arrays = jax.tree.map(jnp.asarray, (latent, scales, used, points, *data))
    found = jax.tree.map(np.asarray, _program(model, *arrays, keys))

    def by_run(name: str) -> np.ndarray:
        """Bring values [R, S, cell, k, …] into the order [cell, R, run, …]."""
        values = np.moveaxis(found.pop(name), 2, 0)
        return values.reshape(*values.shape[:2], -1, *values.shape[4:])[:, :, :runs]

    draws = Draws(by_run("drawn_latent"), by_run("drawn_outer"))
    by_cell = {name: values.T for name, values in found.items()}  # [cell, S, R]
    result = {"effective_size": by_cell.pop("effective_size").min(axis=1)}
    for name, values in by_cell.items():
        result[name] = values.mean(axis=1)
        several = values.shape[1] > 1
        spread = mean_over_seeds(np.moveaxis(values, 1, -1)).standard_error if several else 0.0
        result[f"{name}_se"] = np.broadcast_to(spread, result[name].shape)
    return result, draws


@functools.partial(jax.jit, static_argnames="model")
def _outputs(model: Regression, latent: Array, outer: Array, x: Array) -> Array:
    return features(model, latent, x) @ outer


@in_float64
def outputs(model: Regression, draws: Draws, r: int, x: np.ndarray) -> np.ndarray:
    """Return f at inputs [m, d] of the draws of data set r, [cell, run, m, q]."""
    cells, _, runs = draws.latent.shape[:3]
    latent, outer = (part[:, r].reshape(cells * runs, *part.shape[3:]) for part in draws)
    values = _outputs(model, *map(jnp.asarray, (latent, outer, x)))
    return np.asarray(values).reshape(cells, runs, *values.shape[1:])
