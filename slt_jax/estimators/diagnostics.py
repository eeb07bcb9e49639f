"""Convergence of chains, and the number of independent draws that theirs are worth.

Functions of draws [chain, draw, ...] on the host, in float64: the result has the axes after the
second, one number for each quantity that was traced. A draw that is not finite makes it NaN, which
never counts as converged. Draws that are all one constant agree, which says nothing of whether
chains move: that is for the acceptance to say.

Source: Vehtari, Gelman, Simpson, Carpenter & Bürkner, Rank-normalization, folding, and
localization: an improved R̂, Bayesian Analysis 16, 2021.
"""

from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from numpyro import diagnostics as numpyro_diagnostics
from scipy.special import ndtri, stdtr

from slt_jax.validation import AtLeast, check, check_kind, real_array

if TYPE_CHECKING:
    from slt_jax.samplers.sampling import Draws

Floats = NDArray[np.float64]

MIN_DRAWS = 4
MISSED_BEYOND = 3.0
MAX_STEP_ERRORS = 3.0
# Of R̂: up to four chains, and from twenty on.
LIMITS_OF_R_HAT = (1.01, 1.05)


class Thresholds(NamedTuple):
    """Limits that ``judge`` applies.

    ``max_r_hat`` is for rank-normalised R̂; None stands for 1.01 up to four chains, growing to 1.05
    at twenty, and ``min_ess`` is 400. R̂ − 1 is about 1/(2 · ESS of half a chain) in chains that
    have converged: both are Vehtari et al.'s limits at four chains. With more chains half a chain
    may be worth less, but not less than ten draws, or it has not forgotten where it began: of 72
    runs of 256 chains of MALA on four oracles (tanh, reduced rank, w₁w₂x and linear regression, n
    from 100 to 10⁴), the 59 with R̂ ≤ 1.05 were within 2.7 standard errors of the exact E[nL_n], and
    10 of the others up to 7 away. ``max_nested_r_hat`` is for whole runs. ``min_acceptance`` and
    ``max_acceptance`` bound the mean over chains.

    ``max_divergent`` is a share of all draws. A singular posterior has ever narrower parts, where a
    step that suits the rest diverges and is rejected: some divergences do no harm. On the same
    oracles, where more than 4 % of its trajectories diverge, NUTS misses these parts, and E[nL_n]
    of y = w₁w₂x comes out up to 0.07 standard deviations too small with R̂ below 1.01; with up to
    3 % it was within 0.05, the accuracy of 400 draws. Samplers with moves that lead out of such
    parts again are right with more: ``max_divergent`` of their settings is 0.2, and MALA, ChEES and
    tempering, with R̂ ≤ 1.05, were within 0.05 standard deviations where up to 15, 2 and 12 % of
    their draws diverged.

    Source: Vehtari et al. 2021; Margossian et al. 2024 of ``nested_r_hat``.
    """

    max_r_hat: float | None = None
    min_ess: float = 400.0
    min_acceptance: float = 0.5
    max_acceptance: float = 1.0
    max_divergent: float = 0.03
    max_nested_r_hat: float = 1.1

    def r_hat_limit(self, num_chains: int) -> float:
        """The largest R̂ that is allowed of so many chains."""
        if self.max_r_hat is not None:
            return self.max_r_hat
        low, high = LIMITS_OF_R_HAT
        return float(np.clip(1 + num_chains / self.min_ess, low, high)) if self.min_ess else high


class Convergence(NamedTuple):
    """The worst case over all quantities, and whether it is good enough.

    ``divergences`` and ``acceptance`` are None where the sampler has none to report. ``reason``
    is "converged" or all that is wrong.
    """

    r_hat: float
    ess: float
    divergences: int | None
    acceptance: float | None
    converged: bool
    reason: str


def r_hat(draws: ArrayLike) -> Floats:
    """Return rank-normalised split R̂, the larger of that of draws and of distances to the median.

    Chains are halved, ranks r of all S draws become Φ⁻¹((r − 3/8)/(S + 1/4)), and
    R̂ = √(marginal variance / variance within half chains). 1 where all draws are one constant, ∞
    where chains stay at different constants. Draws have shape [chain, draw, ...] with at least 4
    draws (ValueError); one chain is enough, many are better.

    Source: Vehtari et al. 2021, equations 4 and 13–14.

    >>> float(r_hat([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    inf
    >>> float(r_hat(np.random.default_rng(0).normal(size=(4, 1000)))) < 1.01
    True
    """
    array, finite = _read(draws)
    folded = np.abs(array - np.median(array, axis=(0, 1)))
    both = [_split_r_hat(_normal_scores(a)) for a in (array, folded)]
    return np.where(finite, np.maximum(*both), np.nan)


def _split_r_hat(array: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = numpyro_diagnostics.split_gelman_rubin(array)
    ratio = np.where(np.all(np.ptp(array, axis=1) == 0, axis=0), np.inf, ratio)
    return np.where(_is_constant(array), 1.0, ratio)


def drift_p_value(draws: ArrayLike) -> Floats:
    """Return the probability that settled chains would drift as far as these, by Student's t.

    Each chain gives the difference between the mean rank scores, as of ``r_hat``, of its second and
    its first half. Chains are independent, whatever the correlation of their draws, so that the
    mean difference over its standard error between C chains is Student-t with C − 1 degrees of
    freedom in chains that have settled. Draws have shape [chain, draw, ...] with at least 4 draws
    (ValueError). 1 where all draws are one constant, NaN for a single chain.
    """
    array, finite = _read(draws)
    chains, half = array.shape[0], array.shape[1] // 2
    if chains < 2:
        return np.full(array.shape[2:], np.nan)
    scores = _normal_scores(array)
    moved = scores[:, -half:].mean(axis=1) - scores[:, :half].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = moved.mean(axis=0) / (moved.std(axis=0, ddof=1) / np.sqrt(chains))
    p_value = 2 * stdtr(chains - 1, -np.abs(statistic))
    return np.where(finite, np.where(_is_constant(array), 1.0, p_value), np.nan)


def effective_sample_size(draws: ArrayLike) -> Floats:
    """Estimate the number of independent draws whose mean has the same variance.

    ESS = S/τ with τ from Geyer's initial monotone sequence over half chains. Draws have shape
    [chain, draw, ...] with at least 4 draws (ValueError). At most S log₁₀ S, as in Stan: for
    antithetic draws the estimate of τ can come out as zero or less. S where all draws are one
    constant, whose mean has no error.

    Source: Vehtari et al. 2021, section 3.2.

    >>> draws = np.random.default_rng(0).normal(size=(4, 1000))
    >>> 3000 < float(effective_sample_size(draws)) < 5000
    True
    """
    array, finite = _read(draws)
    half = array.shape[1] // 2
    halves = np.concatenate([array[:, :half], array[:, -half:]])
    size = halves.shape[0] * half
    with np.errstate(divide="ignore", invalid="ignore"):
        ess = numpyro_diagnostics.effective_sample_size(halves)
    most = size * np.log10(size)
    ess = np.where((ess <= 0) | (ess > most), most, ess)
    return np.where(finite, np.where(_is_constant(array), size, ess), np.nan)


def mean_and_standard_error(draws: ArrayLike) -> tuple[Floats, Floats]:
    """Return the mean over chains and draws and its standard error sd/√ESS, in units of the draws.

    Draws have shape [chain, draw, ...] with at least 4 draws (ValueError). The error is honest
    only if the chains have converged: see ``judge``.
    """
    array, finite = _read(draws)
    mean = np.where(finite, array.mean(axis=(0, 1)), np.nan)
    spread = np.where(_is_constant(array), 0.0, array.std(axis=(0, 1), ddof=1))
    return mean, spread / np.sqrt(effective_sample_size(draws))


def judge(
    draws: ArrayLike,
    acceptance: ArrayLike | None = None,
    num_divergent: ArrayLike | None = None,
    thresholds: Thresholds | None = None,
    coarse: ArrayLike | None = None,
    *,
    num_runs: int | None = None,
) -> Convergence:
    """Check whether all traced quantities have converged, and list everything that is wrong.

    ``draws`` [chain, draw, ...] are energies or parameters; ``acceptance`` and ``num_divergent``
    are per chain or totals, as the samplers return them. Where all draws are one constant, as of a
    likelihood that does not depend on w, chains agree; whether they move at all is then seen by
    other quantities or by the acceptance, and without either nothing has converged.

    ``num_runs`` is for SMC: its chains are shorter than their autocorrelation, so that R̂ of chains
    is far above 1 in populations that are right. They start from the population before, and what
    can be compared are ``num_runs`` independent runs, whose chains lie together: nested R̂ takes
    the place of R̂. Chains that each start somewhere else always agree as groups, and need R̂.

    ``coarse`` are draws with twice the step, of a sampler that its step biases, as SGLD: means must
    agree within 3 standard errors, and a bias below that is a part of the error of
    ``mean_over_chains(draws, coarse=coarse)``: of 33 runs of SGLD on the oracles of ``Thresholds``
    that passed, all were within 3 of these errors, but 27 beyond 2 of those without it. No bias is
    seen without ``coarse``. Raises ValueError for fewer than 4 draws, ``num_runs`` that do not
    divide the chains, and arguments of another kind.

    >>> judge(np.random.default_rng(0).normal(size=(4, 1000)), acceptance=0.2).reason
    'acceptance 0.200 is not in [0.5, 1]'
    """
    check_kind("thresholds", thresholds, (Thresholds, NoneType), "Thresholds or None")
    limits = thresholds or Thresholds()
    array, finite = _read(draws)
    worst_ess = float(np.min(effective_sample_size(draws)))
    mean_acceptance = None
    if acceptance is not None:
        mean_acceptance = float(np.mean(real_array("acceptance", acceptance)))
    worst_r_hat, wrong = _disagreement(array, finite, acceptance is not None, limits, num_runs)
    # Written so that NaN fails.
    if not worst_ess >= limits.min_ess:
        wrong.append(f"ESS {worst_ess:.0f} is below {limits.min_ess:g}")
    if mean_acceptance is not None:
        low, high = limits.min_acceptance, limits.max_acceptance
        if not low <= mean_acceptance <= high:
            wrong.append(f"acceptance {mean_acceptance:.3f} is not in [{low:g}, {high:g}]")
    if coarse is not None:
        wrong += _bias(draws, coarse)
    divergences = None
    if num_divergent is not None:
        divergences = int(np.sum(real_array("num_divergent", num_divergent)))
        total = array.shape[0] * array.shape[1]
        if not 0 <= divergences <= limits.max_divergent * total:
            wrong.append(
                f"{divergences} of {total} draws diverged, more than {limits.max_divergent:.1%}: a "
                "higher target_acceptance, or a shorter step, is needed"
            )
    return Convergence(
        r_hat=worst_r_hat,
        ess=worst_ess,
        divergences=divergences,
        acceptance=mean_acceptance,
        converged=not wrong,
        reason="; ".join(wrong) or "converged",
    )


def judge_draws(
    draws: "Draws",
    settings: Any = None,
    thresholds: Thresholds | None = None,
    rung: int = -1,
) -> Convergence:
    """Check the energies of all runs of a sampler at one of its β, by all that its draws report.

    It is ``judge`` with the acceptance, the divergences, the draws with twice the step of a sampler
    that its step biases, and the comparison of whole runs where each has an evidence of its own, as
    those of SMC. ``draws`` are of S runs at B inverse temperatures, and ``rung`` is the index of β.
    The ``settings`` of the sampler may say what share of draws does no harm if they diverge, for
    which ``thresholds`` have one of their own. Raises ValueError for draws of another shape, and
    for one run of SMC, which has none to agree with.

    >>> from slt_jax.samplers.sampling import Draws
    >>> energies = np.random.default_rng(0).normal(size=(2, 1, 4, 1000))  # run, β, chain, draw
    >>> none = np.zeros(energies.shape[:3])
    >>> biased = Draws(energies, none, none + 0.99, none, coarse_energies=energies + 0.2)
    >>> judge_draws(biased).reason
    'twice the step changes the mean by 0.2: a bias'
    """
    limits = thresholds or Thresholds()
    if thresholds is None and hasattr(settings, "max_divergent"):
        limits = limits._replace(max_divergent=settings.max_divergent)
    energies = real_array("draws.energies", draws.energies)
    if energies.ndim != 4:
        raise ValueError(
            f"draws.energies have shape {energies.shape}; allowed is [run, β, chain, draw]"
        )
    runs = len(energies)
    is_population = draws.evidence is not None
    if is_population and runs < 2:
        raise ValueError("draws: 1 run of SMC has none to agree with; run it with several keys")

    def by_chain(values: ArrayLike) -> Floats:
        at_beta = real_array("draws", values)[:, rung]
        return at_beta.reshape(-1, *at_beta.shape[2:])

    coarse = draws.coarse_energies
    return judge(
        by_chain(energies),
        by_chain(draws.acceptance),
        by_chain(draws.num_divergent),
        limits,
        None if coarse is None else by_chain(coarse),
        num_runs=runs if is_population else None,
    )


def _disagreement(
    array: Floats,
    finite: NDArray[np.bool_],
    has_acceptance: bool,
    limits: Thresholds,
    num_runs: int | None,
) -> tuple[float, list[str]]:
    """The worst R̂ of chains, or nested R̂ of whole runs, and what is wrong with draws that rest."""
    chains, whole = array.shape[0], np.where(finite, array, np.nan)
    if num_runs is None:
        worst, limit = float(np.max(r_hat(whole))), limits.r_hat_limit(chains)
        wrong = _chains_at_rest(array, finite, has_acceptance)
        if not worst <= limit:
            wrong.append(f"R-hat {worst:.3f} is above {limit:g}")
        return worst, wrong
    check("num_runs", num_runs, Annotated[int, AtLeast(2)])
    if chains % num_runs:
        raise ValueError(f"num_runs = {num_runs}: must divide the {chains} chains")
    by_run = whole.reshape(num_runs, chains // num_runs, *array.shape[1:])
    worst = float(np.max(nested_r_hat(np.moveaxis(by_run, (0, 1, 2), (-3, -2, -1)))))
    # Of a population that is resampled, some chains are short enough to rest.
    joined = array.reshape(num_runs, -1, *array.shape[2:])
    wrong = _chains_at_rest(joined, finite, has_acceptance)
    if not worst <= limits.max_nested_r_hat:
        wrong.append(f"nested R-hat {worst:.3f} of runs is above {limits.max_nested_r_hat:g}")
    return worst, wrong


def _bias(draws: ArrayLike, coarse: ArrayLike) -> list[str]:
    """Say by how much twice the step changes a mean, if that is no chance."""
    mean, error = mean_and_standard_error(draws)
    other_mean, other_error = mean_and_standard_error(coarse)
    change, allowed = np.abs(other_mean - mean), MAX_STEP_ERRORS * np.hypot(error, other_error)
    if np.all(change <= allowed):
        return []
    return [f"twice the step changes the mean by {np.max(change):.3g}: a bias"]


def _chains_at_rest(array: Floats, finite: NDArray[np.bool_], has_acceptance: bool) -> list[str]:
    """List what is wrong with draws that are not finite or never change."""
    constant = _is_constant(array)
    still = (np.ptp(array, axis=1) == 0) & finite & ~constant
    stuck = int(np.sum(np.any(still.reshape(len(array), -1), axis=1)))
    wrong = []
    if not np.all(finite):
        wrong.append("draws are not finite")
    if stuck:
        wrong.append(f"{stuck} of {array.shape[0]} chains never moved")
    if np.all(constant) and not has_acceptance:
        wrong.append("no draw ever changes, and no acceptance says that chains move")
    return wrong


class StartComparison(NamedTuple):
    """A comparison of chains from the optimal set with chains from elsewhere.

    ``r_hat`` is that of all chains together, of the worst quantity; ``missed`` the share of the
    seeded chains that stay where no other chain comes; ``reason`` is empty if they ``agree``.
    """

    r_hat: float
    missed: float
    agree: bool
    reason: str


def compare_starts(
    seeded: ArrayLike, others: ArrayLike, thresholds: Thresholds | None = None
) -> StartComparison:
    """Check whether chains that started on W₀ and others have seen the same posterior.

    Both are draws [chain, draw, ...] of the same quantities, burn-in dropped. Chains of either
    kind can agree among themselves in a part of the posterior, which no R̂ of one kind can tell.
    A seeded chain is missed if in some quantity no draw of the others comes within 3 of its own
    standard deviations of its median. Only quantities that tell modes apart can show a missed one:
    nL_n is the same in modes that are mirror images, and so is whatever depends on the function
    alone. Raises ValueError for fewer than 4 draws and quantities that differ.
    """
    limits = thresholds or Thresholds()
    first, second = (_read(draws)[0] for draws in (seeded, others))
    if first.shape[2:] != second.shape[2:]:
        raise ValueError(f"quantities of shapes {first.shape[2:]} and {second.shape[2:]} differ")
    length = min(first.shape[1], second.shape[1])
    joined = np.concatenate([real_array("draws", draws)[:, -length:] for draws in (seeded, others)])
    worst = float(np.max(r_hat(joined)))
    median, spread = np.median(first, axis=1), np.std(first, axis=1)
    pooled = second.reshape(-1, *second.shape[2:])
    distant = [
        np.min(np.abs(pooled - centre), axis=0) > MISSED_BEYOND * scale
        for centre, scale in zip(median, spread, strict=True)
    ]
    missed = float(np.mean([np.any(quantity) for quantity in distant]))
    wrong = []
    limit = limits.r_hat_limit(len(joined))
    if not worst <= limit:
        wrong.append(f"R-hat {worst:.3f} of both starts is above {limit:g}")
    if missed > 0:
        wrong.append(f"{missed:.0%} of the seeded chains stay where no other comes")
    return StartComparison(worst, missed, not wrong, "; ".join(wrong))


def _read(draws: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Return draws in float64, 0 where a quantity is not finite, and a mask of those that are."""
    array = real_array("draws", draws)
    if array.ndim < 2 or array.shape[0] < 1 or array.shape[1] < MIN_DRAWS:
        raise ValueError(
            f"draws have shape {array.shape}; allowed is [chain, draw, ...] with at least "
            f"{MIN_DRAWS} draws"
        )
    finite = np.all(np.isfinite(array), axis=(0, 1))
    return np.where(finite, array, 0.0), finite


def _is_constant(array: Floats) -> NDArray[np.bool_]:
    """Mask quantities that are the same in all draws; rounded means would give them a variance."""
    return np.asarray(np.ptp(array, axis=(0, 1)) == 0)


def _normal_scores(array: Floats) -> Floats:
    from scipy.stats import rankdata  # which takes long to import

    size = array.shape[0] * array.shape[1]
    ranks = rankdata(array.reshape(size, *array.shape[2:]), axis=0).reshape(array.shape)
    scores: Floats = ndtri((ranks - 3 / 8) / (size + 1 / 4))
    return scores


def nested_r_hat(draws: ArrayLike) -> Floats:
    """Return nested R̂ of many short chains grouped in independent runs, shape [...].

    It is √(1 + B/W) with B the variance of the runs' means and W the mean over runs of the variance
    between a run's chain means plus that within its chains; ``draws`` is [..., run, chain, draw].
    It compares whole populations, so chains may be far shorter than their autocorrelation
    (Margossian et al., Bayesian Analysis, 2024). 1 where all draws are one constant, ∞ where those
    of every run are one, but not the same; NaN where a draw is not finite. Raises ValueError for
    fewer than two runs or draws.

    >>> float(nested_r_hat(np.random.default_rng(0).normal(size=(4, 64, 10)))) < 1.05
    True
    """
    array = real_array("draws", draws)
    if array.ndim < 3 or array.shape[-3] < 2 or array.shape[-1] < 2:
        raise ValueError(
            f"draws have shape {array.shape}; allowed is [..., run, chain, draw] with at least "
            "2 runs and 2 draws"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        between_runs = array.mean(axis=(-1, -2)).var(axis=-1, ddof=1)
        within_chains = array.var(axis=-1, ddof=1).mean(axis=-1)
        chain_means = array.mean(axis=-1)
        between_chains = chain_means.var(axis=-1, ddof=1) if array.shape[-2] > 1 else 0.0
        within = np.mean(within_chains + between_chains, axis=-1)
        ratio: Floats = np.sqrt(1 + between_runs / within)
    # The rounding of means gives constants a variance: what is one is seen by the range.
    same_in_run = np.all(np.ptp(array, axis=(-1, -2)) == 0, axis=-1)
    same = np.ptp(array, axis=(-1, -2, -3)) == 0
    return np.where(same, 1.0, np.where(same_in_run, np.inf, ratio))
