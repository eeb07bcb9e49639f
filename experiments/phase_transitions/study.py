"""The study: exact crossings of a designed model, and evidences of the phases of the toy model."""

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from scipy.special import expit, softmax

from slt_jax.estimators import log_mean_over_seeds, mean_over_seeds
from slt_jax.run.sweep import Task, joined
from slt_jax.samplers.smc import SMCSettings

from . import Config
from .crossing import observed_log_size, predicted_log_size, sharpness
from .designed import (
    advantage_of_data,
    gaps,
    log_evidence_of_accurate,
    log_evidence_of_coarse,
    nested_means,
)
from .paths import (
    EVERYWHERE,
    MAX_TEMPERATURES,
    log_evidences,
    path_within,
    prior_counts,
    reweighted,
)
from .polygons import PEAKS, PHASES, local_constant, loss_at
from .transitions import QUANTILES, transitions

# Predictions of the designed model's crossing, each with one term more than the last.
LEVELS = ("λ", "λ, m", "λ, m, c", "λ, m, c, data")
REGIONS = {"plain": EVERYWHERE, "5": 5, "6": 6}


def tasks(config: Config) -> list[Task]:
    """List all work; the paths share one compiled program."""
    do, key = functools.partial, jax.random.key(config.seed)
    region_key, path_key, data_key = jax.random.split(key, 3)
    return [
        Task("designed", do(designed, config), "exact"),
        Task("polygons", do(polygons, config), "exact"),
        Task("regions", do(regions, config, region_key), "regions"),
        *(
            Task(f"path.{name}", do(path, config, name, path_key, data_key), "paths")
            for name in REGIONS
        ),
    ]


def designed(config: Config) -> xr.Dataset:
    """Compute the designed model's advantage of the accurate phase, and where it changes sign.

    ``designed_advantage`` [offset, exact_n] of the population with its bound, log n at which it is
    zero, and the predictions ``designed_prediction`` [offset, level]. Of data sets:
    ``designed_mass`` [offset, quantile, exact_n] of the accurate phase, ``designed_crossing``
    [offset, draw] the log n of the last crossing, and ``designed_bound`` [offset] the largest
    error of an advantage.
    """
    n, log_n = np.array(config.exact_sizes, float), np.log(config.exact_sizes)
    rng = np.random.default_rng(config.seed)
    t = nested_means(rng, n, config.designed_data_sets, config.dimension)
    coefficient, order, constant, of_data = gaps(config.dimension)
    coarse, error = log_evidence_of_coarse(n)
    accurate = log_evidence_of_accurate(n, config.dimension)
    rows = []
    for offset in config.offsets:
        population = accurate - coarse + n * offset
        data, bound = advantage_of_data(n, t, offset)
        levels = ((0.0, 0.0), (order, 0.0), (order, constant), (order, constant + of_data))
        predicted = [predicted_log_size(offset, coefficient, o, c) for o, c in levels]
        slope = sharpness(predicted[-1], offset, coefficient, order)
        spread = math.sqrt(2 * offset * math.exp(predicted[-1])) / slope
        rows.append(
            xr.Dataset(
                {
                    "designed_advantage": ("exact_n", population),
                    "designed_advantage_error": ("exact_n", error),
                    "population_crossing": float(observed_log_size(log_n, population)),
                    "designed_prediction": ("level", predicted),
                    "predicted_slope": slope,
                    "predicted_spread": spread,
                    "designed_mass": (
                        ("quantile", "exact_n"), np.quantile(expit(data), QUANTILES, axis=0),
                    ),
                    "designed_crossing": ("draw", observed_log_size(log_n, data)),
                    "designed_bound": float(bound.max()),
                }
            )
        )  # fmt: skip
    merged = xr.concat(rows, dim=xr.Variable("offset", list(config.offsets)))
    return merged.assign_coords(exact_n=n, level=list(LEVELS), quantile=list(QUANTILES))


def polygons(config: Config) -> xr.Dataset:
    """Compute loss, λ and the constant of the local evidence of each polygon [phase]."""
    of_phase = [PEAKS.get(phase.name) for phase in PHASES]
    return xr.Dataset(
        {
            "polygon_loss": ("phase", [np.nan if p is None else loss_at(p) for p in of_phase]),
            "polygon_coefficient": (
                "phase", [np.nan if p is None else p.learning_coefficient for p in of_phase],
            ),
            "polygon_constant": (
                "phase", [np.nan if p is None else local_constant(p) for p in of_phase],
            ),
        },
        coords={"phase": [phase.name for phase in PHASES]},
    )  # fmt: skip


def regions(config: Config, key: Array) -> xr.Dataset:
    """Estimate the log prior mass of each number of vertices [vertices]."""
    counts = prior_counts(key, config.prior_draws)
    mass = counts / counts.sum()
    error = np.sqrt((1 - mass) / counts)
    return xr.Dataset(
        {
            "log_prior_mass": ("vertices", np.log(mass)),
            "log_prior_mass_se": ("vertices", error),
        },
        coords={"vertices": [3.0, 4.0, 5.0, 6.0]},
    )


def path(config: Config, name: str, key: Array, data_key: Array) -> xr.Dataset:
    """Follow one path and weigh its populations for each data set.

    ``path_log_evidence`` [run, n, phase] is relative to the prior within the region, −∞ where a run
    has no particle of the phase, and NaN in phases outside; ``data_gain`` [data_set, n, phase, run]
    is added to it for a data set, and ``weights_ess`` [data_set, n, phase]. ``phase_energy`` and
    ``seeded_energy`` [phase], with their standard errors, are mean nL at the last n of particles
    and of chains that start at the polygon, as far as they are in the phase.
    """
    settings = SMCSettings(
        num_chains=config.chains,
        chain_length=config.chain_length,
        num_integration_steps=config.integration_steps,
        max_moves=config.max_moves,
        max_temperatures=MAX_TEMPERATURES,
    )
    region = REGIONS[name]
    keys = jax.random.split(jax.random.fold_in(key, region), config.runs)
    seeds = np.stack([peak.parameters for peak in PEAKS.values()])
    followed = path_within(
        settings,
        jnp.asarray(region),
        jnp.asarray(seeds, float),
        keys,
        jnp.asarray(config.path_sizes, float),
    )
    evidence = log_evidences(followed)
    outside = [region not in (EVERYWHERE, phase.vertices) for phase in PHASES]
    evidence[..., outside] = np.nan
    gains, ess = reweighted(followed, data_key, config.path_sizes, config.data_sets, config.weighed)
    axes = ("data_set", "n", "phase")
    dataset = xr.Dataset(
        {
            "path_log_evidence": (("run", "n", "phase"), evidence),
            "data_gain": ((*axes, "run"), gains),
            "weights_ess": (axes, ess),
            "least_ess": float(np.min(np.asarray(followed.ess))),
            "acceptance": float(np.min(np.asarray(followed.acceptance))),
            "num_temperatures": float(np.mean(np.asarray(followed.num_temperatures))),
        },
        coords={
            "run": range(config.runs), "n": list(config.path_sizes),
            "data_set": range(config.data_sets), "phase": [phase.name for phase in PHASES],
        },
    )  # fmt: skip
    return dataset.assign(seeded_means(
        np.asarray(followed.energies, float), np.asarray(followed.phases[:, -1]),
        np.asarray(followed.seeded_energies, float), np.asarray(followed.seeded_phases), region,
    ))  # fmt: skip


def seeded_means(
    energies: np.ndarray,
    phases: np.ndarray,
    seeded: np.ndarray,
    seeded_phases: np.ndarray,
    region: int,
) -> dict[str, tuple[str, np.ndarray]]:
    """Compare mean energies [phase] of particles [S, P] and of seeded chains [S, G, P] by phase.

    NaN where fewer than two runs have particles of the phase, and outside the region.
    """
    names = ("phase_energy", "phase_energy_se", "seeded_energy", "seeded_energy_se")
    table = np.full((len(names), len(PHASES)), np.nan)
    for i, phase in enumerate(PHASES):
        if phase.name not in PEAKS or region not in (EVERYWHERE, phase.vertices):
            continue
        seed = list(PEAKS).index(phase.name)
        for row, (values, where) in enumerate(
            ((energies, phases), (seeded[:, seed], seeded_phases[:, seed]))
        ):
            means = [v[w == i].mean() for v, w in zip(values, where, strict=True) if (w == i).any()]
            if len(means) > 1:
                estimate = mean_over_seeds(np.array(means))
                table[2 * row : 2 * row + 2, i] = estimate.value, estimate.standard_error
    return {name: ("phase", row) for name, row in zip(names, table, strict=True)}


# --- one dataset ------------------------------------------------------------------------------


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset of all results.

    ``log_evidence`` [route, n, phase] with its standard error is relative to the whole prior, NaN
    where a phase is not on the route or some run has no particle of it; ``data_log_evidence``
    [data_set, n, phase] and ``own_log_evidence`` [run, n, phase] are of the route of each phase,
    its region's path or else the plain one, and so are ``mass`` and ``data_mass``.
    ``local_gap`` [route, n, phase] is log Z minus the local evidence. The rest is what
    ``transitions`` makes.
    """
    routes = list(REGIONS)
    log_mass = results["regions"]["log_prior_mass"].to_series()
    by_route = joined("route", routes, [results[f"path.{name}"] for name in routes])
    of_region = [log_mass[REGIONS[r]] if REGIONS[r] != EVERYWHERE else 0.0 for r in routes]
    runs = by_route["path_log_evidence"].transpose("route", "run", "n", "phase").to_numpy()
    runs = runs + np.array(of_region)[:, None, None, None]
    value, error = evidence_by_route(runs)
    chosen = [routes.index(str(p.vertices)) if str(p.vertices) in routes else 0 for p in PHASES]
    own = np.stack([runs[r, :, :, i] for i, r in enumerate(chosen)], axis=-1)
    gains = by_route["data_gain"].transpose("route", "data_set", "n", "phase", "run").to_numpy()
    gain = np.stack([gains[r, :, :, i] for i, r in enumerate(chosen)], axis=2)
    of_data, _ = _log_means(np.moveaxis(own, 0, -1) + gain)
    ess = by_route["weights_ess"].transpose("route", "data_set", "n", "phase").to_numpy()
    own_ess = np.stack([ess[r, :, :, i] for i, r in enumerate(chosen)], axis=-1)
    kept = by_route.drop_vars(["path_log_evidence", "data_gain", "weights_ess", "run"])
    others = [results[name].drop_attrs() for name in ("designed", "polygons", "regions")]
    axes = ("data_set", "n", "phase")
    merged = xr.merge([kept, *others]).assign(
        {
            "log_evidence": (("route", "n", "phase"), value),
            "log_evidence_se": (("route", "n", "phase"), error),
            "own_log_evidence": (("run", "n", "phase"), own),
            "data_log_evidence": (axes, of_data),
            "weights_ess": (axes, own_ess),
            "mass": (("n", "phase"), masses(_log_means(np.moveaxis(own, 0, -1))[0])),
            "data_mass": (axes, masses(of_data)),
            "fit_size": config.fit_size,
            "num_runs": config.runs,
        }
    )
    merged = merged.assign_coords(run=list(range(config.runs)))
    local = merged["polygon_constant"] - merged["polygon_coefficient"] * np.log(merged["n"])
    gap = merged["log_evidence"] + merged["n"] * merged["polygon_loss"] - local
    merged["local_gap"] = gap.transpose("route", "n", "phase")
    return merged.merge(transitions(merged))


def masses(logs: np.ndarray) -> np.ndarray:
    """Return posterior masses of log evidences [..., phase]; a phase that is not known has none."""
    known = np.isfinite(logs)
    weights = softmax(np.where(known, logs, -1e300), axis=-1)
    return np.where(known, weights, 0.0)


def evidence_by_route(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average Z over runs [route, S, n, phase] to log Z and its error [route, n, phase]."""
    return _log_means(np.moveaxis(runs, 1, -1))


def _log_means(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log means over the last axis with standard errors, NaN unless all are finite."""
    finite = np.isfinite(logs).all(axis=-1)
    estimate = log_mean_over_seeds(np.where(finite[..., None], logs, 0.0))
    error = np.asarray(estimate.standard_error)
    return np.where(finite, estimate.value, np.nan), np.where(finite, error, np.nan)
