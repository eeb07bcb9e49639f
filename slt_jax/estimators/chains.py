"""Means over Markov chains, with the error within chains and what chains disagree by beyond it."""

import numpy as np
from numpy.typing import ArrayLike

from slt_jax.estimators.diagnostics import effective_sample_size
from slt_jax.estimators.estimate import Basis, ErrorSources, Estimate, Floats
from slt_jax.validation import real_array

# A window of five autocorrelation times gives that time, and so the error, with the relative
# variance 10/ESS, which is 2/freedom (Sokal, Monte Carlo methods in statistical mechanics, 1997).
FREEDOM_PER_EFFECTIVE_DRAW = 0.2


def mean_over_chains(
    draws: ArrayLike, basis: Basis | None = None, coarse: ArrayLike | None = None
) -> Estimate:
    """Average ``draws`` [..., chain, draw] over chains and draws, in the units of the draws.

    ``within_chains`` is √(Σ_c s_c²/ESS_c)/C with the effective sample size of each chain by
    itself. The variance of the chains' means over C is larger where chains have not mixed, and
    ``between_chains`` is √ of the difference (0 if it is negative, None for one chain). Their
    squares add: the larger of both is taken, so that intervals of few chains cover more than
    they claim. The error is 0 where all draws are one constant, and NaN where a draw is not finite
    or a chain never moves while others do or are elsewhere. ``coarse`` are independent draws of the
    same quantities [..., chain, draw] with twice the step: the change of the mean is to first order
    the bias of the step, and with its own Monte-Carlo error in squares it is ``discretisation``.
    Raises ValueError for fewer than 4 draws.

    >>> estimate = mean_over_chains([[1.0, 3.0, 2.0, 2.0], [2.0, 1.0, 3.0, 2.0]])
    >>> float(estimate.value), round(float(estimate.standard_error), 2)
    (2.0, 0.37)
    """
    draws = real_array("draws", draws)
    if draws.ndim < 2:
        raise ValueError(f"draws have shape {draws.shape}; allowed is [..., chain, draw]")
    estimate = delta_method(draws.mean(axis=(-1, -2)), draws[..., None, :, :], basis)
    if coarse is None:
        return estimate
    return with_step_bias(estimate, mean_over_chains(coarse))


def with_step_bias(fine: Estimate, coarse: Estimate) -> Estimate:
    """Add to the error of an estimate by how much twice the step changes it.

    To first order that is the bias of the step, and it has its own Monte-Carlo error in squares.
    """
    change = coarse.value - fine.value
    bias = np.sqrt(change**2 + fine.standard_error**2 + coarse.standard_error**2)
    return fine.with_part("discretisation", bias, np.inf)


def delta_method(value: ArrayLike, influence: Floats, basis: Basis | None = None) -> Estimate:
    """Give a value the error of the sum over strata of the mean of its influence.

    ``influence`` [..., stratum, chain, draw] is by how much a draw moves the estimate, up to a
    constant: a stratum is a temperature, and everything is one stratum without temperatures.
    Strata are independent within chains, and chains of one index may depend on each other between
    strata, as in parallel tempering. Errors as in ``mean_over_chains``.
    """
    chains, length = influence.shape[-2:]
    each_alone = np.moveaxis(influence, -1, 0)[None]
    ess = effective_sample_size(each_alone)
    still = np.ptp(influence, axis=-1) == 0
    constant = np.ptp(influence, axis=(-1, -2), keepdims=True)[..., 0] == 0
    variance = np.where(still, np.where(constant, 0.0, np.nan), influence.var(axis=-1, ddof=1))
    squares = np.sum(variance / ess, axis=(-1, -2)) / chains**2
    freedom = FREEDOM_PER_EFFECTIVE_DRAW * np.minimum(ess, length).sum(axis=(-1, -2))
    return _with_spread(value, squares, freedom, influence.mean(axis=-1).sum(axis=-2), basis)


def delta_method_blocks(
    value: ArrayLike, influence: Floats, basis: Basis | None = None
) -> Estimate:
    """Give a value the error of its mean influence over consecutive blocks of draws.

    ``influence`` is [..., chain, block] with blocks of one length, which must be long beside the
    autocorrelation time. ``within_chains`` is √(Σ_c s_c²/B)/C with the variance s_c² of a chain's
    B blocks. With one block to a chain, only the spread between chains is known. Raises
    ValueError for one block of one chain.
    """
    chains, blocks = influence.shape[-2:]
    means = influence.mean(axis=-1)
    if blocks > 1:
        squares = influence.var(axis=-1, ddof=1).sum(axis=-1) / (blocks * chains**2)
        return _with_spread(value, squares, chains * (blocks - 1.0), means, basis)
    if chains < 2:
        raise ValueError("1 chain of 1 block: an error needs at least 2 chains or 2 blocks")
    error = means.std(axis=-1, ddof=1) / np.sqrt(chains)
    sources = ErrorSources(between_chains=error)
    return Estimate(np.asarray(value, float), error, chains - 1, sources, basis or Basis())


def _with_spread(
    value: ArrayLike,
    within_squared: Floats,
    freedom: float | Floats,
    chain_means: Floats,
    basis: Basis | None,
) -> Estimate:
    """Give a value the larger of the variances within and between chains."""
    value, basis = np.asarray(value, float), basis or Basis()
    within = np.sqrt(within_squared)
    chains = chain_means.shape[-1]
    if chains < 2:
        return Estimate(value, within, freedom, ErrorSources(within_chains=within), basis)
    excess_squared = chain_means.var(axis=-1, ddof=1) / chains - within_squared
    excess = np.sqrt(np.maximum(excess_squared, 0))
    return Estimate(
        value=value,
        standard_error=np.hypot(within, excess),
        degrees_of_freedom=np.where(excess > 0, chains - 1, freedom),
        sources=ErrorSources(within_chains=within, between_chains=excess),
        basis=basis,
    )
