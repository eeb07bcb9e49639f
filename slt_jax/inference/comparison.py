"""Competing models of the same data in one table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jax import Array, random

from slt_jax.curves.reference import with_reference
from slt_jax.data import in_doubles
from slt_jax.inference.arguments import checked_problem
from slt_jax.inference.exact import exact
from slt_jax.inference.posterior import Posterior
from slt_jax.inference.sampled import SMC, sample
from slt_jax.model import Model
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.samplers.sampling import SamplerSettings
from slt_jax.statistics import Data
from slt_jax.validation import shown

EXACT = "exact"
CRITERIA = ("free_energy", "wbic", "waic", "leave_one_out_loss")


def compare(
    problems: Sequence[Problem | Model],
    data: Data,
    *,
    key: Array,
    sampler: SamplerSettings = SMC,
    seeds: int = 8,
    num_chains: int = 128,
    step_size: float | None = None,
) -> pd.DataFrame:
    """Tabulate F_n, WBIC, WAIC, leave-one-out and posterior odds of models of the same data.

    One row for each problem, the smallest free energy first. Each criterion x stands beside
    ``x_error``: F_n and WBIC in total nats, WAIC and the leave-one-out loss in nats per datum.
    ``log_odds`` are those against the first row when all models are as probable beforehand,
    F_first − F, with the error of both; ``probability`` is that of the model among these. Models
    with an oracle that takes no minutes are ``exact``, and their errors are bounds; others are
    sampled as by ``sample``, and their errors are standard errors. ``reason`` says what did not
    converge. Raises ValueError for fewer than two problems, for two of one name, for data that one
    of them cannot have, for n < 3, and as ``sample`` does.

    >>> import jax
    >>> import slt_jax as slt
    >>> nets = [slt.named_problems()[name] for name in ("tanh_1", "tanh_2")]
    >>> data = slt.simulate(nets[0], jax.random.key(0), n=100)
    >>> table = slt.compare(nets, data, key=jax.random.key(1))
    >>> table.index.tolist(), table.method.unique().tolist()
    (['tanh_1', 'tanh_2'], ['exact'])
    """
    models = _different(problems, data)
    for problem in models:
        in_doubles(problem, data, least=3)
    models = [with_reference(problem, data) for problem in models]
    posteriors: list[Posterior[Any]] = [
        sample(
            problem,
            data,
            key=random.fold_in(key, index),
            sampler=sampler,
            seeds=seeds,
            num_chains=num_chains,
            step_size=step_size,
        )
        if oracle_for(problem) is None
        else exact(problem, data)
        for index, problem in enumerate(models)
    ]
    table = pd.DataFrame(
        [_row(posterior) for posterior in posteriors], index=[problem.name for problem in models]
    )
    table = table.sort_values("free_energy")
    first = table.iloc[0]
    error, other = table["free_energy_error"], first["free_energy_error"]
    both_sampled = (table["method"] != EXACT) & (first["method"] != EXACT)
    # Bounds add, and independent standard errors add in squares.
    error = np.where(both_sampled, np.hypot(error, other), error + other)
    error[0] = 0.0
    odds = first["free_energy"] - table["free_energy"]
    weights = np.exp(odds)
    table.insert(2, "log_odds", odds)
    table.insert(3, "log_odds_error", error)
    table.insert(4, "probability", weights / weights.sum())
    table.index.name = "problem"
    return table


def _different(problems: Any, data: Any) -> list[Problem]:
    if not isinstance(problems, Sequence) or len(problems) < 2:
        raise ValueError(f"problems = {shown(problems)}: must be two problems or more")
    models = [checked_problem(problem, data) for problem in problems]
    names = [problem.name for problem in models]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"problems: two are called {name}; names must differ")
    return models


def _row(posterior: Posterior[Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in CRITERIA:
        value, error = getattr(posterior, name)[:2]
        row |= {name: float(value), f"{name}_error": float(error)}
    return row | {"method": posterior.method, "reason": posterior.reason}
