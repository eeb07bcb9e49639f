"""Learning curves of one problem: errors exact and sampled, and F_n under several priors."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.curves.errors import cumulative_loss_gap, exact_errors, sampled_errors
from slt_jax.curves.jobs import batch_keys, problem_key
from slt_jax.data import fixed_design_statistics, is_designable, simulate, statistics_along_n
from slt_jax.model import Model
from slt_jax.oracles import HeldOut, Oracle, oracle_for, quadrature_points
from slt_jax.problem import Problem
from slt_jax.run.sweep import Batch
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Data

ONLINE_SIZE = 8
# With several scalars of x and y the default rule would be most of the work; the bound says what
# the smaller one costs in accuracy.
SMALL_ORDERS = ((6, 8), (5, 6))


@dataclass(frozen=True)
class LearningPlan:
    """What to compute for a problem.

    Exact errors of ``data_sets`` nested data sets at ``exact_sizes``, at those of ``sample_sizes``
    also by ``seeds`` runs of SMC; F_n at ``far_sizes`` of ``designs`` data sets of one design, for
    the model's prior and those of ``prior_scales``.
    """

    exact_sizes: tuple[int, ...]
    sample_sizes: tuple[int, ...]
    far_sizes: tuple[int, ...] = ()
    prior_scales: tuple[float, ...] = ()
    data_sets: int = 32
    seeds: int = 6
    designs: int = 8
    settings: SMCSettings = SMCSettings()
    step_size: float = 0.4
    oracle_refinement: int = 1
    seed: int = 0
    budget: int | None = None


def own_prior_scale(problem: Problem) -> float:
    """The width of the problem's prior.

    Raises ValueError for problems that have not all that a learning curve needs: a realisable
    regression with features, a theorem for λ, an oracle, a ``prior_scale`` and inputs with a
    quadrature.
    """
    scale = getattr(problem.model, "prior_scale", None)
    oracle = oracle_for(problem)
    if scale is None or oracle is None or problem.theory is None or not is_designable(problem):
        raise ValueError(
            f"{problem.name}: a learning curve needs a realisable regression with features, a "
            "theorem for λ, an exact oracle and a prior_scale"
        )
    held_out_points(problem)
    return float(scale)


@functools.cache
def held_out_points(problem: Problem) -> HeldOut:
    """Gauss points of the truth, by a smaller rule than the default for more scalars than two.

    Raises ValueError as ``quadrature_points`` does.
    """
    scalars = sum(part.size for part in jax.eval_shape(problem.simulate, jax.random.key(0)))
    return quadrature_points(problem, SMALL_ORDERS if scalars > 2 else None)


def with_prior_scale(problem: Problem, scale: float) -> Problem:
    """The problem with prior N(0, scale²) of all parameters."""
    model: Any = problem.model
    changed: Model = dataclasses.replace(model, prior_scale=scale)
    return dataclasses.replace(problem, model=changed)


def error_batches(problem: Problem, plan: LearningPlan) -> list[Batch]:
    """The batches of a problem's errors, exact and by SMC, which depend on the plan alone.

    Raises ValueError for a problem without an oracle, and as ``held_out_points`` does.
    """
    data_key, sampler_key, _ = _keys(problem, plan)
    oracle = _oracle(problem, plan)
    points = held_out_points(problem)

    def exact(n: int) -> xr.Dataset:
        sets = [Data(d.x[:n], d.y[:n]) for d in _data_sets(problem, plan)]
        found = exact_errors(oracle, sets, points)
        return found.rename({name: f"exact_{name}" for name in found.data_vars})

    def sampled(n: int) -> xr.Dataset:
        padded = jax.tree.map(lambda *parts: np.stack(parts), *_data_sets(problem, plan))
        all_statistics = statistics_along_n(problem, data_key, plan.data_sets, [n])[0]
        keys = batch_keys(sampler_key, n, plan.data_sets, plan.seeds)
        return sampled_errors(
            problem, n, padded, all_statistics, points, keys, plan.settings, plan.step_size,
            plan.budget,
        )  # fmt: skip

    do = functools.partial
    return [
        *(Batch(_name(problem, "exact", n), do(exact, n)) for n in plan.exact_sizes),
        *(Batch(_name(problem, "smc", n), do(sampled, n)) for n in plan.sample_sizes),
    ]


def learning_batches(problem: Problem, plan: LearningPlan) -> list[Batch]:
    """The batches of a problem's curves, which depend on the plan alone.

    Raises ValueError as ``own_prior_scale`` does.
    """
    own = own_prior_scale(problem)
    *_, design_key = _keys(problem, plan)
    oracle = _oracle(problem, plan)

    def online() -> xr.Dataset:
        first = _data_sets(problem, plan)[0]
        gap, bound = cumulative_loss_gap(oracle, Data(first.x[:ONLINE_SIZE], first.y[:ONLINE_SIZE]))
        return xr.Dataset({"online_gap": gap, "online_bound": bound})

    do = functools.partial
    return [
        *error_batches(problem, plan),
        *(
            Batch(_name(problem, "prior", s), do(designed_growth, problem, s, design_key, plan))
            for s in sorted({own, *plan.prior_scales})
        ),
        Batch(_name(problem, "online"), online),
    ]


def _keys(problem: Problem, plan: LearningPlan) -> tuple[Array, Array, Array]:
    """Of the data sets, of SMC and of the design."""
    data, sampler, design = jax.random.split(problem_key(plan.seed, problem), 3)
    return data, sampler, design


def _oracle(problem: Problem, plan: LearningPlan) -> Oracle:
    oracle = oracle_for(problem, plan.oracle_refinement)
    if oracle is None:
        raise ValueError(f"{problem.name}: a learning curve needs an exact oracle")
    return oracle


@functools.lru_cache(maxsize=16)
def _data_sets(problem: Problem, plan: LearningPlan) -> list[Data]:
    """The data sets at their largest size, drawn when a batch first asks for them."""
    data_key, *_ = _keys(problem, plan)
    keys = [jax.random.fold_in(data_key, r) for r in range(plan.data_sets)]
    largest = max(plan.exact_sizes)
    return [jax.tree.map(np.asarray, simulate(problem, key, largest)) for key in keys]


def designed_growth(problem: Problem, scale: float, key: Array, plan: LearningPlan) -> xr.Dataset:
    """F_n − nL_n(w₀) [far_n, replicate] under the prior N(0, scale²), in total nats, with bounds.

    The data sets are those of ``fixed_design_statistics``: the same inputs and noise at every n, and
    under every prior.
    """
    changed = with_prior_scale(problem, scale)
    oracle = oracle_for(changed, plan.oracle_refinement)
    assert isinstance(oracle, Oracle)
    all_statistics = fixed_design_statistics(changed, key, plan.designs, plan.far_sizes)
    evidences = [oracle.log_evidence(statistics) for statistics in all_statistics]
    return xr.Dataset(
        {
            "growth": (("far_n", "design"), np.stack([-e.value for e in evidences])),
            "growth_error": (("far_n", "design"), np.stack([e.error for e in evidences])),
        },
        coords={"far_n": list(plan.far_sizes)},
    )


def _name(problem: Problem, kind: str, value: float | None = None) -> str:
    return ".".join([problem.name, kind, *([] if value is None else [f"{value:g}"])])


def assemble_errors(
    problem: Problem, plan: LearningPlan, batches: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """One labelled dataset of the batches of ``error_batches``.

    Dimensions (n, replicate): the variables of ``exact_errors`` after ``exact_``, and those of
    ``sampled_errors``, NaN where n was not sampled.
    """
    parts = [
        _along(problem, batches, kind, "n", sizes)
        for kind, sizes in (("exact", plan.exact_sizes), ("smc", plan.sample_sizes))
    ]
    found = xr.merge(parts, join="outer")
    found["converged"] = found["converged"].fillna(False).astype(bool)
    found["reason"] = found["reason"].fillna("not sampled").astype(str)
    found.attrs["degrees_of_freedom"] = plan.seeds - 1
    return found


def assemble_learning(
    problem: Problem, plan: LearningPlan, batches: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """One labelled dataset of the batches of ``learning_batches``.

    What ``assemble_errors`` makes; ``growth`` [prior_scale, far_n, design] with ``growth_error``;
    ``online_gap`` with ``online_bound``: |cumulative Bayes loss − F_n|.
    """
    own = own_prior_scale(problem)
    scales = tuple(sorted({own, *plan.prior_scales}))
    errors = assemble_errors(problem, plan, batches)
    found = xr.merge(
        [
            errors,
            _along(problem, batches, "prior", "prior_scale", scales),
            batches[_name(problem, "online")].drop_attrs(),
        ],
        join="outer",
    )
    found["own_prior_scale"] = own
    found.attrs = errors.attrs
    return found


def _along(
    problem: Problem,
    batches: Mapping[str, xr.Dataset],
    kind: str,
    dimension: str,
    values: tuple[float, ...],
) -> xr.Dataset:
    parts = [batches[_name(problem, kind, v)].drop_attrs() for v in values]
    return xr.concat(parts, dim=xr.Variable(dimension, list(values)), join="outer")
