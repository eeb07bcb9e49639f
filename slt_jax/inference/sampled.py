"""The posterior of a problem's data by any sampler in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, overload

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from slt_jax.curves.errors import over_points
from slt_jax.curves.held_out import points_to_sample
from slt_jax.curves.jobs import temperature_nodes, unravelled
from slt_jax.curves.ladders import FreeEnergy
from slt_jax.curves.posterior_runs import Runs, Sampling, ladder_free_energies, sampled_runs
from slt_jax.curves.predictions import (
    TemperedEnergies,
    pointwise_log_likelihood,
    predictive_moments,
    relative_to,
    terms_at_optimum,
)
from slt_jax.curves.reference import with_reference
from slt_jax.data import in_doubles, statistics_of
from slt_jax.estimators import (
    Basis,
    Estimate,
    LossMoments,
    bayes_generalisation_loss,
    bayes_training_loss,
    functional_variance,
    gibbs_generalisation_loss,
    leave_one_out_loss,
    log_predictive_density,
    waic,
    with_step_bias,
)
from slt_jax.inference.arguments import (
    checked_data_sets,
    checked_held_out,
    checked_problem,
)
from slt_jax.inference.posterior import Posterior, shifted
from slt_jax.inference.prediction import predicted_by_draws
from slt_jax.model import Model
from slt_jax.oracles.criteria import HeldOut
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.problem import Problem
from slt_jax.samplers.arguments import check_settings
from slt_jax.samplers.sampling import SamplerSettings
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Data
from slt_jax.validation import AtLeast, Positive, check, check_key, checked

if TYPE_CHECKING:
    import xarray as xr

MOST_MARGINALS = 4
SMALLEST_OF_WBIC = 3
AtLeastTwo = Annotated[int, AtLeast(2)]
SMC: SamplerSettings = SMCSettings()


@overload
def sample(
    problem: Problem | Model,
    data: Data,
    beta: float = 1.0,
    *,
    key: Array,
    sampler: SamplerSettings = SMC,
    seeds: int = 8,
    num_chains: int = 128,
    step_size: float | None = None,
    held_out: Data | HeldOut | None = None,
    keep_draws: bool = False,
) -> SampledPosterior: ...


@overload
def sample(
    problem: Problem | Model,
    data: Sequence[Data],
    beta: float = 1.0,
    *,
    key: Array,
    sampler: SamplerSettings = SMC,
    seeds: int = 8,
    num_chains: int = 128,
    step_size: float | None = None,
    held_out: Data | HeldOut | None = None,
    keep_draws: bool = False,
) -> list[SampledPosterior]: ...


def sample(
    problem: Problem | Model,
    data: Data | Sequence[Data],
    beta: float = 1.0,
    *,
    key: Array,
    sampler: SamplerSettings = SMC,
    seeds: int = 8,
    num_chains: int = 128,
    step_size: float | None = None,
    held_out: Data | HeldOut | None = None,
    keep_draws: bool = False,
) -> SampledPosterior | list[SampledPosterior]:
    """Return the posterior of a problem's data at β, with its quantities estimated by sampling.

    ``problem`` is a Problem or a Model, as in ``exact``.
    All names of ``Posterior`` are ``Estimate``: a value and a standard error by source. ``sampler``
    are the settings of any sampler, which runs ``seeds`` times independently with ``num_chains``
    chains (SMC has its own number) that start from draws of the prior. SMC has the evidence
    itself. Of other samplers an eighth of the chains run at each rung of a ladder of temperatures
    as well, when a free energy is asked for, and Bennett's equations join their draws. Losses rest
    on the last population of each run of SMC, or on where the chains of others ended. For SGLD
    every error holds the bias of the step, seen with twice that step. ``step_size`` is that of
    ``samplers.sampling.Start``, and ``held_out`` as in ``exact``. With ``keep_draws`` all draws are
    kept, for ``draws`` and ``to_arviz``. A list of data sets of one size has a list of posteriors,
    sampled by one program; data sets and runs go over all devices. Raises ValueError for arguments
    of a wrong type or out of range, for data that ``validate_data`` refuses or that are none, and
    as the sampler does.

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> data = slt.simulate(problem, jax.random.key(0), n=100)
    >>> posterior = slt.sample(problem, data, key=jax.random.key(1))
    >>> exact = slt.exact(problem, data)
    >>> posterior.converged, bool(abs(posterior.waic.value - exact.waic.value) < 0.01)
    (True, True)
    """
    problem, beta = checked_problem(problem, data), checked("beta", beta, Positive)
    data_sets = checked_data_sets(problem, data)
    check_settings("sampler", sampler)
    check_key("key", key)
    check("seeds", seeds, AtLeastTwo)
    check("num_chains", num_chains, AtLeastTwo)
    step_size = checked("step_size", step_size, Positive | None)
    check("keep_draws", keep_draws, bool)
    single = isinstance(data, Data)
    posteriors = sampled_posteriors(
        problem,
        data_sets,
        beta,
        keys=key[None] if single else jax.random.split(key, len(data_sets)),
        held_out=checked_held_out(problem, held_out),
        sampler=sampler,
        seeds=seeds,
        num_chains=num_chains,
        step_size=step_size,
        keep_draws=keep_draws,
    )
    _ = posteriors[0].batch.runs  # so that what cannot be sampled is refused here
    return posteriors[0] if single else posteriors


def sampled_posteriors(
    problem: Problem,
    data_sets: Sequence[Data],
    beta: float,
    *,
    keys: Array,
    held_out: HeldOut | None,
    sampler: SamplerSettings,
    seeds: int,
    num_chains: int,
    step_size: float | None,
    keep_draws: bool,
) -> list[SampledPosterior]:
    """Return the posteriors of checked data sets of one size, of which nothing is sampled yet.

    ``keys`` [R] are one for each data set.
    """
    problems = [with_reference(problem, one) for one in data_sets]
    every = [statistics_of(of_data, one) for of_data, one in zip(problems, data_sets, strict=True)]
    sampling = Sampling(
        problem=problem,
        statistics=jax.tree.map(lambda *parts: np.stack(parts), *every),
        n=len(data_sets[0].y),
        sampler=sampler,
        seeds=seeds,
        num_chains=num_chains,
        step_size=step_size,
        keep_positions=keep_draws,
    )
    batch = Batch(sampling, keys, beta)
    return [
        SampledPosterior(
            problem=of_data,
            data=one,
            statistics=statistics,
            beta=beta,
            held_out=held_out,
            batch=batch,
            index=index,
        )
        for index, (of_data, one, statistics) in enumerate(
            zip(problems, data_sets, every, strict=True)
        )
    ]


@dataclass(frozen=True, eq=False)
class Batch:
    """The runs on all data sets of one call, with one of the ``keys`` [R] each.

    What one data set is asked for is computed for all.
    """

    sampling: Sampling
    keys: Array
    beta: float

    @cached_property
    def runs(self) -> list[Runs]:
        """The runs at β."""
        return sampled_runs(self.sampling, self._keys(0), self.beta)

    @cached_property
    def at_wbic(self) -> list[Runs]:
        """The runs at 1/log n."""
        sampling = self.sampling._replace(keep_positions=False)
        return sampled_runs(sampling, self._keys(1), temperature_nodes(sampling.n).wbic)

    @cached_property
    def free_energies(self) -> list[FreeEnergy]:
        """F_n(β) − βnL_n(w₀) by a ladder of temperatures."""
        return ladder_free_energies(self.sampling, self._keys(2), self.beta)

    def _keys(self, purpose: int) -> Array:
        return jax.vmap(jax.random.fold_in, (0, None))(self.keys, purpose)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SampledPosterior(Posterior[Estimate]):
    """A posterior whose quantities are estimates with standard errors; see ``sample``."""

    batch: Batch
    index: int

    @property
    def normalised_free_energy(self) -> Estimate:
        evidence = self._runs.evidence
        found = self._free_energy.estimate if evidence is None else evidence
        return found._replace(basis=Basis(self.n, self.beta, self.basis_of_reference))

    @property
    def bayes_training_loss(self) -> Estimate:
        return _from_moments(partial(bayes_training_loss, reference=None), self._moments)

    @property
    def gibbs_training_loss(self) -> Estimate:
        loss = self._runs.excess_energy.scaled(1 / self.n)
        return shifted(loss, self.energy_at_optimum / self.n)._replace(
            basis=Basis(self.n, self.beta)
        )

    @property
    def functional_variance(self) -> Estimate:
        return _from_moments(functional_variance, self._moments)

    @property
    def waic(self) -> Estimate:
        return _from_moments(partial(waic, reference=None), self._moments)

    @property
    def leave_one_out_loss(self) -> Estimate:
        return _from_moments(partial(leave_one_out_loss, reference=None), self._moments)

    @property
    def bayes_generalisation_loss(self) -> Estimate:
        return self._over_points(bayes_generalisation_loss)

    @property
    def gibbs_generalisation_loss(self) -> Estimate:
        return self._over_points(gibbs_generalisation_loss)

    @property
    def draws(self) -> Mapping[str, np.ndarray]:
        """Draws of each parameter at β, [chain, draw, ...], where its prior lives.

        All that ``keep_draws`` kept; without it what the losses rest on, with the runs as chains:
        the last populations of SMC, or where the chains of others ended.
        """
        kept = self._runs.kept_positions
        return self._labelled(self._runs.positions if kept is None else kept)

    def to_arviz(self) -> Any:
        """Return the draws as ArviZ has them: parameters, energies and ℓ_i(w) of the data.

        The groups are ``posterior``, ``sample_stats`` with ``energy`` nL_n(w) in total nats, and
        ``log_likelihood``. Raises ValueError unless ``keep_draws`` kept the draws, and ImportError
        where ArviZ is not installed.
        """
        from slt_jax.report.export import draws_tree, to_arviz

        runs = self._runs
        if runs.kept_positions is None or runs.kept_energies is None:
            raise ValueError("keep_draws = False: must be True, so that there are draws to convert")
        return to_arviz(
            draws_tree(
                dict(self._labelled(runs.kept_positions)),
                pointwise_log_likelihood(self.problem, self.data, runs.kept_positions),
                {"energy": runs.kept_energies + self.energy_at_optimum},
                {"problem": self.problem.name, "n": self.n, "beta": self.beta},
            )
        )

    def log_predictive_density(self, points: Data) -> Estimate:
        known = in_doubles(self.problem, points, "points", least=1)
        return _from_moments(log_predictive_density, self._moments_of(known, held_out=True))

    def predict(self, x: ArrayLike, coverage: float = 0.95) -> xr.Dataset:
        positions = np.concatenate(self._runs.positions)
        return predicted_by_draws(self.problem, positions, x, coverage)

    @property
    def reason(self) -> str:
        rests_on_positions = {"_moments", "_moments_of_points"} & vars(self).keys()
        of_losses = self._runs.reason_of_losses if rests_on_positions else ""
        reasons = list(filter(None, (self._runs.reason, of_losses)))
        for name, title in (("free_energies", "free energy"), ("at_wbic", "WBIC")):
            if name in vars(self.batch) and getattr(self.batch, name)[self.index].reason:
                reasons.append(f"{title}: {getattr(self.batch, name)[self.index].reason}")
        return "; ".join(reasons)

    @property
    def _runs(self) -> Runs:
        return self.batch.runs[self.index]

    @property
    def _free_energy(self) -> FreeEnergy:
        return self.batch.free_energies[self.index]

    @property
    def _at_wbic(self) -> Runs:
        return self.batch.at_wbic[self.index]

    def _labelled(self, positions: np.ndarray) -> Mapping[str, np.ndarray]:
        unravel = partial(unravelled, self.problem.model)
        of_each: Any = jax.vmap(jax.vmap(unravel))
        return {name: np.asarray(part) for name, part in of_each(positions).items()}

    @property
    def _normalised_wbic(self) -> Estimate:
        basis = Basis(self.n, self.wbic_beta, self.basis_of_reference)
        return self._at_wbic.excess_energy._replace(basis=basis)

    @cached_property
    def _moments(self) -> tuple[LossMoments, ...]:
        return self._moments_of(self.data)

    @cached_property
    def _moments_of_points(self) -> tuple[LossMoments, ...]:
        return self._moments_of(self.points.data, held_out=True)

    @property
    def points(self) -> HeldOut:
        known = self.held_out is None and self.problem.has_truth
        return points_to_sample(self.problem) if known else super().points

    def _moments_of(self, data: Data, held_out: bool = False) -> tuple[LossMoments, ...]:
        """Moments of the draws, and of those with twice the step where there are any."""
        runs = (self._runs.positions, self._runs.coarse_positions)
        return tuple(
            predictive_moments(self.problem, data, positions, self.beta, held_out)
            for positions in runs
            if positions is not None
        )

    def _over_points(self, estimator: Callable[..., Estimate]) -> Estimate:
        absolute = partial(estimator, reference=None)
        over_all = partial(over_points, absolute, held_out=self.points)
        known = self.problem.optimal_loss
        if self.points.check is not None or self.held_out is not None or known is None:
            return _from_moments(over_all, self._moments_of_points)
        # The error of simulated data is far smaller relative to w₀, whose loss is known.
        at_optimum = terms_at_optimum(self.problem, self.points.data)
        errors = tuple(relative_to(at_optimum, each) for each in self._moments_of_points)
        return shifted(_from_moments(over_all, errors), known)

    @property
    def _oracle(self) -> Oracle | None:
        return oracle_for(self.problem)

    @property
    def _sampled_energies(self) -> TemperedEnergies:
        at = [(self.beta, self._runs)]
        if self.n >= SMALLEST_OF_WBIC:
            at.insert(0, (self.wbic_beta, self._at_wbic))
        scaled = [runs.excess_energy.scaled(beta) for beta, runs in at]
        return TemperedEnergies(
            np.array([beta for beta, _ in at]),
            np.array([float(energy.value) for energy in scaled]),
            np.array([float(energy.half_width(0.95)) for energy in scaled]),
        )

    @property
    def _marginals(self) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        """Draws of the first scalar parameters, from the posterior and from the prior."""
        positions = np.concatenate(self._runs.positions)
        keys = jax.random.split(jax.random.key(0), len(positions))
        prior = jax.vmap(self.problem.model.sample_prior)(keys)
        drawn = self._labelled(positions[:, None])
        marginals: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name, values in drawn.items():
            columns = values.reshape(len(positions), -1).T
            others = np.asarray(prior[name]).reshape(len(positions), -1).T
            for index, pair in enumerate(zip(columns, others, strict=True)):
                marginals[name if len(columns) == 1 else f"{name}[{index}]"] = pair
        return dict(list(marginals.items())[:MOST_MARGINALS])

    @property
    def method(self) -> str:
        return f"{self.batch.sampling.seeds} runs of {self.batch.sampling.sampler}"

    @property
    def _name_of_error(self) -> str:
        return "standard error"


def _from_moments(
    estimator: Callable[[LossMoments], Estimate], moments: tuple[LossMoments, ...]
) -> Estimate:
    """The estimate of the first moments, with the bias of the step by the second, if any."""
    fine, *coarse = map(estimator, moments)
    return with_step_bias(fine, coarse[0]) if coarse else fine
