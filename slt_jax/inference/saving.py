"""Posteriors on disk: what they were made from, and all that they have computed."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from slt_jax import __version__
from slt_jax.curves.ladders import FreeEnergy
from slt_jax.curves.posterior_runs import Runs
from slt_jax.curves.sampled_curve import CHAIN_SAMPLERS
from slt_jax.estimators import Basis, ErrorSources, Estimate
from slt_jax.inference.arguments import checked_problem
from slt_jax.inference.exact import ExactPosterior, exact
from slt_jax.inference.sampled import SampledPosterior, sampled_posteriors
from slt_jax.models import named_problems, problems_of
from slt_jax.oracles.criteria import HeldOut
from slt_jax.problem import Problem
from slt_jax.run.store import read_dataset, write_dataset
from slt_jax.samplers.sgld import RMSProp
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Data
from slt_jax.validation import check_kind

RECORDS: dict[str, Any] = {
    record.__name__: record
    for record in (
        Basis, Data, ErrorSources, Estimate, FreeEnergy, HeldOut, RMSProp, Runs, SMCSettings,
        *map(type, CHAIN_SAMPLERS.values()),
    )
}  # fmt: skip
COMPUTED = ("runs", "at_wbic", "free_energies")
ATTRIBUTE = "posterior"


def save_posterior(posterior: ExactPosterior | SampledPosterior, path: str | Path) -> None:
    """Write a posterior as netCDF: its data, and the runs that a sampled one has made so far.

    What has not been computed by then is computed from the same key when the loaded posterior is
    asked for it. The problem is saved by its name alone. Raises ValueError for anything but a
    posterior, for settings of a sampler that is not the package's or that hold a function, and
    OSError where the file cannot be written; an older file is then left as it was.

    >>> import jax, tempfile
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> posterior = slt.exact(problem, slt.simulate(problem, jax.random.key(0), n=100))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     slt.save_posterior(posterior, f"{folder}/posterior.nc")
    ...     slt.load_posterior(f"{folder}/posterior.nc").waic == posterior.waic
    True
    """
    kinds = (ExactPosterior, SampledPosterior)
    check_kind("posterior", posterior, kinds, "a posterior, as exact(problem, data)")
    check_kind("path", path, (str, Path), "the name of a file")
    record: dict[str, Any] = {
        "slt_jax_version": __version__,
        "problem": posterior.problem.name,
        "beta": posterior.beta,
        "energy_at_optimum": posterior.energy_at_optimum,
        "data": posterior.data,
        "held_out": posterior.held_out,
    }
    if isinstance(posterior, SampledPosterior):
        batch, index = posterior.batch, posterior.index
        record |= {
            "sampler": batch.sampling.sampler,
            "seeds": batch.sampling.seeds,
            "num_chains": batch.sampling.num_chains,
            "step_size": batch.sampling.step_size,
            "keep_draws": batch.sampling.keep_positions,
            "key": np.asarray(jax.random.key_data(batch.keys[index])),
            "key_implementation": str(jax.random.key_impl(batch.keys)),
            "computed": {
                name: getattr(batch, name)[index] for name in COMPUTED if name in vars(batch)
            },
        }
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_encoded(record, arrays))
    variables = {
        name: ([f"{name}_{axis}" for axis in range(array.ndim)], array)
        for name, array in arrays.items()
    }
    write_dataset(xr.Dataset(variables, attrs={ATTRIBUTE: text}), path)


def load_posterior(
    path: str | Path, problem: Problem | None = None
) -> ExactPosterior | SampledPosterior:
    """Read a posterior that ``save_posterior`` wrote, of a named problem or of the one given.

    Raises ValueError for a file of another kind and for a problem under which the data have not the
    likelihood that they had, and OSError for a file that cannot be read.

    >>> import jax, tempfile
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["monomial_1_1"]
    >>> posterior = slt.exact(problem, slt.simulate(problem, jax.random.key(0), n=10))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     slt.save_posterior(posterior, f"{folder}/posterior.nc")
    ...     loaded = slt.load_posterior(f"{folder}/posterior.nc", problem)
    >>> loaded.free_energy == posterior.free_energy
    True
    """
    check_kind("path", path, (str, Path), "the name of a file")
    dataset = read_dataset(path)
    if ATTRIBUTE not in dataset.attrs:
        raise ValueError(f"{str(path)!r}: must be a file of save_posterior")
    arrays = {str(name): array.to_numpy() for name, array in dataset.data_vars.items()}
    record = _decoded(json.loads(dataset.attrs[ATTRIBUTE]), arrays)
    name = record["problem"]
    if problem is None:
        if name not in named_problems():
            raise ValueError(f"problem = None: must be given, as no problem is called {name!r}")
        (problem,) = problems_of([name])
    problem = checked_problem(problem, record["data"])
    loaded = _loaded(problem, record)
    if not np.isclose(loaded.energy_at_optimum, record["energy_at_optimum"], rtol=1e-9):
        raise ValueError(
            f"problem = {problem.name}: nL_n(w0) is {loaded.energy_at_optimum:.9g} and was "
            f"{record['energy_at_optimum']:.9g}; must be the problem that was saved"
        )
    return loaded


def _loaded(problem: Problem, record: dict[str, Any]) -> ExactPosterior | SampledPosterior:
    data, beta, held_out = record["data"], record["beta"], record["held_out"]
    if "sampler" not in record:
        return exact(problem, data, beta, held_out=held_out)
    (loaded,) = sampled_posteriors(
        problem,
        [data],
        beta,
        keys=jax.random.wrap_key_data(record["key"], impl=record["key_implementation"])[None],
        held_out=held_out,
        sampler=record["sampler"],
        seeds=record["seeds"],
        num_chains=record["num_chains"],
        step_size=record["step_size"],
        keep_draws=record["keep_draws"],
    )
    # What a cached property has computed is an attribute of its name.
    vars(loaded.batch).update({name: [value] for name, value in record["computed"].items()})
    return loaded


def _encoded(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A tree of records as JSON has it, with its arrays put aside by name."""
    kind = type(value).__name__
    if RECORDS.get(kind) is type(value):
        fields = value._asdict() if hasattr(value, "_asdict") else vars(value)
        return {"record": kind, "fields": _encoded(fields, arrays)}
    if isinstance(value, dict):
        return {name: _encoded(part, arrays) for name, part in value.items()}
    if isinstance(value, tuple):
        return {"tuple": [_encoded(part, arrays) for part in value]}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        name = f"array_{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"array": name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a {kind} cannot be saved; allowed: settings of the package's samplers")


def _decoded(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "record" in value:
        return RECORDS[value["record"]](**_decoded(value["fields"], arrays))
    if "tuple" in value:
        return tuple(_decoded(part, arrays) for part in value["tuple"])
    if "array" in value:
        return arrays[value["array"]]
    return {name: _decoded(part, arrays) for name, part in value.items()}
