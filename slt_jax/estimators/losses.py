"""Losses of the posterior predictive and related quantities, from per-datum moments.

With l_i = ℓ_i(w) − ℓ_i(w₀) the moments give errors, B = loss − L(w₀); with l_i = ℓ_i(w) they give
losses. Every error bar is that of the delta method: the estimate is linearised in the means over
the blocks of the chains.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from slt_jax.estimators.accumulator import LossMoments
from slt_jax.estimators.chains import delta_method_blocks
from slt_jax.estimators.estimate import Basis, Estimate, Floats, Reference
from slt_jax.validation import check, check_kind, real_array


def bayes_training_loss(moments: LossMoments, reference: Reference | None = "w0") -> Estimate:
    """Estimate T_n = −(1/n) Σ_i log E_w[p(z_i|w)] per datum, or B_t for l relative to w₀.

    Source: Watanabe, Journal of Machine Learning Research 11 (2010).

    >>> from slt_jax.estimators import loss_moments
    >>> moments = loss_moments(np.log([[[0.5, 1.0], [1.0, 0.5]], [[1.0, 1.0], [0.5, 0.5]]]), 2)
    >>> round(float(bayes_training_loss(moments).value), 3)
    0.288
    """
    return _estimate(moments, *_bayes(moments), reference)


def gibbs_training_loss(moments: LossMoments, reference: Reference | None = "w0") -> Estimate:
    """Estimate E_w[L_n(w)] = −(1/n) Σ_i E_w[ℓ_i] per datum, or G_t for l relative to w₀."""
    return _estimate(moments, *_gibbs(moments), reference)


def functional_variance(moments: LossMoments) -> Estimate:
    """Estimate V_n = Σ_i Var_w[ℓ_i], a sum over the data.

    Source: Watanabe, Journal of Machine Learning Research 11 (2010).

    >>> from slt_jax.estimators import loss_moments
    >>> moments = loss_moments(np.log([[[0.5, 1.0], [1.0, 0.5]], [[1.0, 1.0], [0.5, 0.5]]]), 2)
    >>> round(float(functional_variance(moments).value), 3)
    0.24
    """
    return _estimate(moments, *_variance(moments), reference=None)


def waic(moments: LossMoments, reference: Reference | None = "w0") -> Estimate:
    """Estimate WAIC = T_n + (β/n)V_n per datum, relative to L_n(w₀) for l relative to w₀.

    Source: Watanabe, Journal of Machine Learning Research 11 (2010).

    >>> from slt_jax.estimators import loss_moments
    >>> moments = loss_moments(np.log([[[0.5, 1.0], [1.0, 0.5]], [[1.0, 1.0], [0.5, 0.5]]]), 2)
    >>> round(float(waic(moments).value), 3)  # 0.288 + 0.240 / 2
    0.408
    """
    (loss, loss_influence), (variance, influence) = _bayes(moments), _variance(moments)
    weight = moments.beta / moments.num_data
    value = loss + weight * variance
    return _estimate(
        moments, value, loss_influence + weight[..., None, None] * influence, reference
    )


def leave_one_out_loss(moments: LossMoments, reference: Reference | None = "w0") -> Estimate:
    """Estimate the leave-one-out loss per datum by reweighting draws.

    It is −(1/n) Σ_i log E_w^{∖i}[p(z_i|w)], without datum i in the posterior, and

        log E_w^{∖i}[p_i] = log E_w[p_i^{1−β}] − log E_w[p_i^{−β}]

    is exact for infinitely many draws. The weights may have no finite variance, and then neither
    the estimate nor its error can be relied on: ``smoothed_leave_one_out`` says when. Raises
    ValueError for moments of held-out data.

    Source: Gelfand, Dey & Chang, Bayesian Statistics 4 (1992).
    """
    _check(moments)
    if moments.log_means.shape[-2] < 3:
        raise ValueError("moments of held-out data: leaving out needs data that were trained on")
    (with_datum, grown), (without, shrunk) = _log_mean(moments, 2), _log_mean(moments, 1)
    influence = np.mean(shrunk - grown, axis=-1)
    return _estimate(moments, np.mean(without - with_datum, axis=-1), influence, reference)


def bayes_generalisation_loss(
    moments: LossMoments, reference: Reference | None = "w0", weights: ArrayLike | None = None
) -> Estimate:
    """Estimate G_n = −E_z log E_w[p(z|w)] per datum by held-out data.

    It is B_g for l relative to w₀. ``held_out_data`` in the error is the spread of the log
    densities over √N held-out data, of which at least 2 are needed (ValueError); it is small where
    l is relative to w₀. There is none with ``weights`` [N], if Σ_j weight_j h(z_j) is an
    expectation over the truth by quadrature.

    Source: Watanabe, Journal of Machine Learning Research 11 (2010).

    >>> from slt_jax.estimators import loss_moments
    >>> moments = loss_moments(np.log([[[0.5, 1.0], [1.0, 0.5]], [[1.0, 1.0], [0.5, 0.5]]]), 2)
    >>> round(float(bayes_generalisation_loss(moments).value), 3)
    0.288
    """
    by_datum = _log_mean(moments, 0)[0]
    return _held_out(moments, _bayes(moments, weights), by_datum, reference, weights)


def gibbs_generalisation_loss(
    moments: LossMoments, reference: Reference | None = "w0", weights: ArrayLike | None = None
) -> Estimate:
    """Estimate E_w[L(w)] per datum by held-out data.

    It is G_g for l relative to w₀. Weights, standard error and errors raised are those of
    ``bayes_generalisation_loss``.
    """
    _check(moments)
    by_datum = moments.means.mean(axis=(-2, -3))
    return _held_out(moments, _gibbs(moments, weights), by_datum, reference, weights)


def log_predictive_density(moments: LossMoments) -> Estimate:
    """Estimate log E_w[p(z_i|w)] of each datum [..., n] in nats, relative to w₀ where l is.

    >>> from slt_jax.estimators import loss_moments
    >>> moments = loss_moments(np.log([[[0.5, 1.0], [1.0, 0.5]], [[1.0, 1.0], [0.5, 0.5]]]), 2)
    >>> np.exp(log_predictive_density(moments).value).round(6).tolist()
    [0.75, 0.75]
    """
    value, influence = _log_mean(moments, 0)
    return _estimate(moments, value, np.moveaxis(influence, -1, -3), reference=None)


def energy_variance(moments: LossMoments) -> Estimate:
    """Estimate Var_β[nL_n] of the data of the moments, in nats²."""
    _check(moments)
    energies = -moments.means.sum(axis=-1)
    mean = energies.mean(axis=(-1, -2), keepdims=True)
    squares = moments.energy_variances + (energies - mean) ** 2
    value = squares.mean(axis=(-1, -2))
    return _estimate(moments, value, squares, reference=None)


def energy_effective_sample_size(moments: LossMoments) -> Floats:
    """Estimate the number of independent draws that would give E_β[nL_n] as well.

    It is Var_β[nL_n] over the squared error of E_β[nL_n], from the means of blocks and chains, so
    that it needs neither the draws nor their order inside a block. Where the energy never changes
    it is the number of draws.
    """
    error = gibbs_training_loss(moments).scaled(moments.num_data).standard_error
    variance = energy_variance(moments).value
    draws = moments.num_draws * np.prod(moments.energy_variances.shape[-2:])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where((variance == 0) & (error == 0), draws, variance / error**2))


def _log_mean(moments: LossMoments, power: int) -> tuple[Floats, Floats]:
    """Return log E[exp(αl_i)] [..., n], and E_block[exp(αl_i)]/E[exp(αl_i)] by block."""
    _check(moments)
    by_block = moments.log_means[..., power, :]
    blocks = by_block.shape[-2] * by_block.shape[-3]
    total = logsumexp(by_block, axis=(-2, -3)) - np.log(blocks)
    return total, np.exp(by_block - total[..., None, None, :])


def _bayes(moments: LossMoments, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
    total, ratio = _log_mean(moments, 0)
    return -_over_data(total, weights), -_over_data(ratio, weights)


def _gibbs(moments: LossMoments, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
    _check(moments)
    influence = -_over_data(moments.means, weights)
    return influence.mean(axis=(-1, -2)), influence


def _check(moments: LossMoments) -> None:
    check_kind("moments", moments, LossMoments, "LossMoments, as loss_moments(log_ratios)")


def _over_data(values: Floats, weights: ArrayLike | None) -> Floats:
    if weights is None:
        return values.mean(axis=-1)
    array = real_array("weights", weights)
    if array.shape != values.shape[-1:]:
        raise ValueError(f"weights have shape {array.shape}; they must be {values.shape[-1:]}")
    return values @ array


def _variance(moments: LossMoments) -> tuple[Floats, Floats]:
    _check(moments)
    mean = moments.means.mean(axis=(-2, -3), keepdims=True)
    squares = np.sum(moments.variances + (moments.means - mean) ** 2, axis=-1)
    return squares.mean(axis=(-1, -2)), squares


def _estimate(
    moments: LossMoments, value: Floats, influence: Floats, reference: Reference | None
) -> Estimate:
    return delta_method_blocks(value, influence, _basis(moments, reference))


def _held_out(
    moments: LossMoments,
    functional: tuple[Floats, Floats],
    by_datum: Floats,
    reference: Reference | None,
    weights: ArrayLike | None,
) -> Estimate:
    count = moments.num_data
    if count < 2:
        raise ValueError(f"{count} held-out datum: an error needs at least 2")
    estimate = delta_method_blocks(*functional, _basis(moments, reference))
    if weights is not None:
        return estimate
    spread = by_datum.std(axis=-1, ddof=1) / np.sqrt(count)
    return estimate.with_part("held_out_data", spread, count - 1)


def _basis(moments: LossMoments, reference: Reference | None) -> Basis:
    check("reference", reference, Reference | None)
    betas = np.unique(moments.beta)
    beta = float(betas[0]) if len(betas) == 1 else tuple(betas.tolist())
    return Basis(n=moments.num_data, beta=beta, reference=reference)
