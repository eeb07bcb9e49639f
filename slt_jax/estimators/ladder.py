"""Free-energy differences from draws at a ladder of inverse temperatures.

Energies are u[temperature, chain, draw] = nL_n(w) − nL_n(w₀) of draws from φ(w) exp(−βnL_n(w)), in
total nats.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from slt_jax.estimators.chains import delta_method
from slt_jax.estimators.estimate import Basis, Estimate, Floats
from slt_jax.estimators.free_energy import integrate_path
from slt_jax.validation import NonNegative, increasing, real_array

MAX_STEPS = 100
TOLERANCE = 1e-9


class BennettRatios(NamedTuple):
    """Estimates of F(β_k) − F(β_0) for k = 1 … K − 1, and their covariance [K − 1, K − 1]."""

    free_energy: Estimate
    covariance: Floats


def multistate_bennett(energies: ArrayLike, beta: ArrayLike) -> BennettRatios:
    """Estimate F(β_k) − F(β_0) by multistate Bennett acceptance ratios, in total nats.

    F = −log Z, and the equations are

        exp(−F_k) = Σ_s exp(−β_k u_s) / Σ_j N exp(F_j − β_j u_s)

    over all draws s of rungs with N = C · S draws each: the minimum of a convex function, which
    Newton's method finds. ``energies`` [K, C, S], ``beta`` [K] different and increasing. Errors
    are those of the linearised equations with the effective sample sizes of their terms; their
    correlations are those of independent draws. Raises ValueError for shapes, β or energies out of
    range and for rungs whose draws do not overlap.

    Source: Shirts & Chodera, Statistically optimal analysis of samples from multiple equilibrium
    states, Journal of Chemical Physics 129 (2008).

    >>> scale = np.array([1.0, 0.5])[:, None, None]
    >>> energies = scale * np.random.default_rng(0).exponential(size=(2, 4, 500))
    >>> estimate = multistate_bennett(energies, [1.0, 2.0]).free_energy
    >>> bool(abs(estimate.value[0] - np.log(2)) < 3 * estimate.standard_error[0])
    True
    """
    energies, beta = _checked(energies, beta)
    draws = energies[0].size
    exponent = -beta[:, None] * energies.ravel()
    steps = np.diff(beta) * (energies.mean(axis=(1, 2))[1:] + energies.mean(axis=(1, 2))[:-1]) / 2
    free_energy, shares, curvature = _minimum(exponent, np.append(0.0, np.cumsum(steps)), draws)
    influence = -draws * np.linalg.solve(curvature, shares[1:])
    by_rung = influence.reshape(-1, len(beta), draws)
    estimate = delta_method(
        free_energy[1:], influence.reshape(-1, *energies.shape), Basis(beta=tuple(beta.tolist()))
    )
    centred = by_rung - by_rung.mean(axis=-1, keepdims=True)
    independent = np.einsum("iks,jks->ij", centred, centred)
    # Where no energy ever changes nothing has a variance to be scaled.
    alone = np.sqrt(np.diag(independent))
    within = np.asarray(estimate.sources.within_chains)
    scale = np.divide(within, alone, out=np.zeros_like(alone), where=alone > 0)
    return BennettRatios(estimate, independent * np.outer(scale, scale))


def ladder_integration(energies: ArrayLike, beta: ArrayLike) -> Estimate:
    """Estimate F(1) = ∫₀¹ E_β[nL_n] dβ by ``integrate_path`` from draws at every β, total nats.

    The draws at β_0 = 0, of the prior, give F(β_1) as minus the log mean of exp(−β_1 u).
    ``energies`` [K, C, S], ``beta`` [K] from 0 to 1 with K even and at least 4. The error is that
    of the linearised rule and, as ``discretisation``, |I − I′|/15 with the rule I′ on every second
    node, because the rule is of fourth order. Raises ValueError for shapes, β or energies out of
    range.

    Source: Friel, Hurn & Wyse, Improving power posterior estimation of statistical evidence,
    Statistics and Computing 24 (2014).
    """
    energies, beta = _checked(energies, beta)
    if beta[0] != 0 or beta[-1] != 1 or len(beta) < 4 or len(beta) % 2:
        raise ValueError(
            f"{len(beta)} betas from {beta[0]:g} to {beta[-1]:g}; allowed is an even number, at "
            "least 4, from 0 to 1"
        )
    mean = energies.mean(axis=(1, 2))
    deviations = energies - mean[:, None, None]
    variance = np.mean(deviations**2, axis=(1, 2))
    log_weights = -beta[1] * energies[0]
    log_weight = float(logsumexp(log_weights) - np.log(log_weights.size))
    value = integrate_path(beta[1:], mean[1:], variance[1:], log_weight)
    coarse = integrate_path(beta[1::2], mean[1::2], variance[1::2], log_weight)

    # The rule is linear in the means and the variances: its weights are its values on unit vectors.
    nodes, unit = np.broadcast_to(beta[1:], 2 * (len(beta) - 1,)), np.eye(len(beta) - 1)
    of_mean = integrate_path(nodes, unit, 0 * unit, 0.0)[:, None, None]
    of_variance = integrate_path(nodes, 0 * unit, unit, 0.0)[:, None, None]
    inside = of_mean * deviations[1:] + of_variance * deviations[1:] ** 2
    influence = np.concatenate([-np.exp(log_weights - log_weight)[None], inside])
    estimate = delta_method(value, influence, Basis(beta=tuple(beta.tolist())))
    return estimate.with_part("discretisation", np.abs(value - coarse) / 15, np.inf)


def _minimum(exponent: Floats, start: Floats, draws: int) -> tuple[Floats, Floats, Floats]:
    """Find F with F_0 = 0, the share of every rung in every draw [K, s], and the curvature.

    The curvature leaves F_0 out. The convex function is Σ_s log Σ_k exp(F_k + exponent_ks) − N Σ_k
    F_k.
    """

    def evaluate(f: Floats) -> tuple[float, Floats]:
        log_terms = f[:, None] + exponent
        log_total = logsumexp(log_terms, axis=0)
        return float(log_total.sum() - draws * f.sum()), np.exp(log_terms - log_total)

    f = start
    objective, shares = evaluate(f)
    for _ in range(MAX_STEPS):
        curvature = (np.diag(shares.sum(axis=1)) - shares @ shares.T)[1:, 1:]
        gradient = shares.sum(axis=1)[1:] - draws
        try:
            step = np.append(0.0, np.linalg.solve(curvature, gradient))
        except np.linalg.LinAlgError:
            break
        if np.abs(gradient).max() <= TOLERANCE * draws:
            return f, shares, curvature
        size = 1.0
        candidate, candidate_shares = evaluate(f - step)
        while not candidate <= objective + TOLERANCE and size > TOLERANCE:
            size /= 2
            candidate, candidate_shares = evaluate(f - size * step)
        f, objective, shares = f - size * step, candidate, candidate_shares
    raise ValueError(
        "the equations have no solution to rounding: draws of the rungs do not overlap"
    )


def _checked(energies: ArrayLike, beta: ArrayLike) -> tuple[Floats, Floats]:
    array, betas = real_array("energies", energies), real_array("beta", beta)
    if array.ndim != 3 or betas.shape != array.shape[:1] or len(betas) < 2:
        raise ValueError(
            f"energies have shape {array.shape} and betas {betas.shape}; allowed is "
            "[temperature, chain, draw] and [temperature] with at least 2 temperatures"
        )
    increasing("beta", betas, NonNegative)
    if not np.isfinite(array).all():
        raise ValueError(f"{np.sum(~np.isfinite(array))} energies are not finite")
    return array, betas
