"""The study: exact λ(n) as a gap closes, λ(n) by a function's kinks, and hidden breakpoints."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.estimators import mean_over_seeds
from slt_jax.oracles.evaluation import Exact
from slt_jax.run.precision import in_float64
from slt_jax.run.sweep import Task, joined
from slt_jax.samplers.smc import SMCSettings

from . import Config
from .exact import Curve, crossover
from .hidden import exact_shares, sampled_shares, simulated
from .nets import (
    LEVELS,
    LIMITS,
    REACH,
    SLOPES,
    WAYS,
    Representation,
    hardest_loss,
    nullity,
    pair,
    representations,
    translation_loss,
)
from .sampled import Local, SortedData, populations

SAMPLED_WAYS = ("merged", "silent")
# Where the net of two units is integrated exactly beside the samples.
EXACT_UNITS = 2


def tasks(config: Config) -> list[Task]:
    """List all work, in groups that share compiled programs."""
    do, key = functools.partial, jax.random.key(config.seed)
    pieces_key, posterior_key = jax.random.split(key)
    gaps = [Task(_gaps_slug(kind), do(gap_curves, config, kind), kind) for kind in SLOPES]
    keys = [jax.random.fold_in(pieces_key, i) for i in range(len(_sampled(config)))]
    pieces = [
        Task(_slug(at), do(sampled_coefficients, config, each, at), f"units.{at.units}")
        for each, at in zip(keys, _sampled(config), strict=True)
    ]
    posteriors = [
        # With two units the compiled sampler may be there already.
        Task(_posterior_slug(i, n), do(posterior, config, each, i, n), f"units.{EXACT_UNITS}")
        for i in range(len(cases(config)))
        for n in config.posterior_sizes
        for each in [jax.random.fold_in(posterior_key, i)]
    ]
    return [*gaps, *pieces, *posteriors]


def _sampled(config: Config) -> list[Representation]:
    return [at for units in config.units for at in representations(units, SAMPLED_WAYS)]


def _gaps_slug(kind: str) -> str:
    return f"gaps.{kind.split()[0]}"


def _posterior_slug(case: int, n: int) -> str:
    return f"posterior.{case}.{n}"


def _slug(at: Representation) -> str:
    return f"pieces.{at.units}.{at.kinks}.{at.way}"


def cases(config: Config) -> list[tuple[str, float]]:
    """List the pairs whose breakpoint is looked at: kinds and gaps."""
    gap = config.posterior_gap
    return [("annihilating", 0.0), ("annihilating", gap), ("same sign", gap)]


def settings_of(config: Config) -> SMCSettings:
    """Return the sampler."""
    return SMCSettings(
        num_chains=config.chains,
        chain_length=config.chain_length,
        max_temperatures=config.max_temperatures,
    )


def gap_curves(config: Config, kind: str) -> xr.Dataset:
    """Compute λ(n) at each gap, 0 first, and the n at which it passes the levels of ``LEVELS``.

    ``gap_coefficient`` [gap, n] with its bound, ``crossing_size`` [level, gap] and the bound
    ``crossing_size_error`` on its logarithm, NaN where it is not passed and for levels of other
    kinds, and ``nearest_loss`` [gap], K of the nearest net without the gap.
    """
    sizes, gaps = [float(n) for n in config.exact_sizes], (0.0, *config.gaps)
    closed = Curve(pair(kind, 0.0), config.nodes)
    found = [closed.at(sizes)]
    crossings = np.full((2, len(LEVELS), len(gaps)), np.nan)
    for j, gap in enumerate(config.gaps, 1):
        apart = Curve(pair(kind, gap), config.nodes)
        found.append(apart.at(sizes))
        excess = found[j].minus(found[0])
        for i, level in enumerate(LEVELS.values()):
            if level.kind == kind:
                crossings[:, i, j] = crossover(closed, apart, sizes, excess, level)
    return xr.Dataset(
        {
            "gap_coefficient": (("gap", "n"), np.stack([each.value for each in found])),
            "gap_coefficient_error": (("gap", "n"), np.stack([each.error for each in found])),
            "crossing_size": (("level", "gap"), crossings[0]),
            "crossing_size_error": (("level", "gap"), crossings[1]),
            "nearest_loss": ("gap", [hardest_loss(kind, gap) for gap in gaps]),
        },
        coords={"gap": list(gaps), "n": sizes, "level": list(LEVELS)},
    )


@in_float64
def sampled_coefficients(config: Config, key: Array, at: Representation) -> xr.Dataset:
    """Sample λ(n) near one representation, with the exact one of two units beside it.

    ``sampled_coefficient`` [sampled_n] and its standard error over independent runs, and
    ``exact_sampled_coefficient`` with its bound, NaN for other numbers of units. ``converged`` says
    whether the runs at all n did, else the ``reason``.
    """
    n, net = np.array(config.sampled_sizes, float), at.net()
    nothing = SortedData.nothing(config.posterior_sizes[0])
    keys = jax.random.split(key, config.repeats)
    nodes = n / n[-1]
    runs = populations(settings_of(config), keys, at.units, Local.of(net, n[-1], nothing), nodes)
    estimate = mean_over_seeds((runs.energies * nodes).T)
    exact = Exact(np.full(n.size, np.nan), np.full(n.size, np.nan))
    if at.units == EXACT_UNITS:
        exact = Curve(net, config.nodes).at(n.tolist())
    return xr.Dataset(
        {
            "sampled_coefficient": ("sampled_n", estimate.value),
            "sampled_coefficient_se": ("sampled_n", estimate.standard_error),
            "exact_sampled_coefficient": ("sampled_n", exact.value),
            "exact_sampled_coefficient_error": ("sampled_n", exact.error),
            "converged": runs.reason == "",
            "reason": runs.reason,
        },
        coords={"sampled_n": n},
    )


@in_float64
def posterior(config: Config, key: Array, index: int, n: int) -> xr.Dataset:
    """Compute and sample the posterior of the first breakpoint of a pair, given n data.

    ``bin_share`` [bin] is its exact probability by bin with a bound, and ``sampled_bin_share`` its
    mean over independent runs with a standard error; ``posterior_converged`` and
    ``posterior_reason``. ``bin`` is the middle of a bin.
    """
    net = pair(*cases(config)[index])
    data_key, run_key = jax.random.split(jax.random.fold_in(key, n))
    data = simulated(net, n, data_key)
    exact = exact_shares(net, data, config.bins, config.nodes)
    keys = jax.random.split(run_key, config.repeats)
    runs = populations(settings_of(config), keys, EXACT_UNITS, Local.of(net, 0.0, data), [1.0])
    shares = mean_over_seeds(sampled_shares(runs.positions, net, config.bins).T)
    edges = np.linspace(net.low[0], net.high[0], config.bins + 1)
    return xr.Dataset(
        {
            "bin_share": ("bin", exact.value),
            "bin_share_error": ("bin", exact.error),
            "sampled_bin_share": ("bin", shares.value),
            "sampled_bin_share_se": ("bin", shares.standard_error),
            "posterior_converged": runs.reason == "",
            "posterior_reason": runs.reason,
        },
        coords={"bin": (edges[1:] + edges[:-1]) / 2},
    )


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join all results along ``kind``, [units, kinks, way], and [posterior_n, case].

    Adds what theory says of each representation, ``representation_limit`` = λ, ``fibre`` and
    ``nullity`` [units, kinks, way], and ``translation_loss`` [gap] of an annihilating pair that
    moves by half of its box.
    """
    gaps = joined("kind", list(SLOPES), [results[_gaps_slug(kind)] for kind in SLOPES], "exact")
    # Of each level the kind that it belongs to.
    crossings = gaps[["crossing_size", "crossing_size_error"]].max("kind")
    gaps = gaps.drop_vars(list(crossings.data_vars)).merge(crossings)
    pieces = _on_grid(config, results)
    by_size = [
        joined("case", [_case(*case) for case in cases(config)],
               [results[_posterior_slug(i, n)] for i in range(len(cases(config)))], "exact")
        for n in config.posterior_sizes
    ]  # fmt: skip
    posteriors = xr.concat(by_size, xr.Variable("posterior_n", list(config.posterior_sizes)))
    everything = gaps["gap"].to_numpy()
    theory = xr.Dataset(
        {
            "kind_limit": ("kind", [float(LIMITS[kind]) for kind in SLOPES]),
            "level_exponent": ("level", [level.exponent for level in LEVELS.values()]),
            "translation_loss": ("gap", [translation_loss(gap, REACH) for gap in everything]),
            "num_runs": config.repeats,
        },
        coords={"kind": list(SLOPES), "level": list(LEVELS), "gap": everything},
    )
    return xr.merge([gaps, pieces, posteriors, theory, _degeneracies(config)], join="exact")


def _on_grid(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Lay the sampled λ(n) out by units, kinks and way; NaN where nothing is sampled.

    Functions that need all units are sampled once, and stand under each of the ways.
    """
    shape = (len(config.units), config.units[-1] + 1, len(SAMPLED_WAYS))
    where = {
        (config.units.index(at.units), at.kinks, i): _slug(at)
        for at in _sampled(config)
        for i, way in enumerate(SAMPLED_WAYS)
        if way == at.way or at.surplus == 0
    }
    first = results[next(iter(where.values()))]
    axes = ("units", "kinks", "sampled_way")
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name, variable in first.data_vars.items():
        own = tuple(map(str, variable.dims))
        blank: dict[str, Any] = {"f": np.nan, "b": False}
        values = np.full(
            (*shape, *variable.shape), blank.get(variable.dtype.kind, ""),
            bool if variable.dtype.kind == "b" else float if own else object,
        )  # fmt: skip
        for place, slug in where.items():
            # An empty index: text that was read from disk is an array without axes.
            values[place] = results[slug][name].to_numpy()[()]
        variables[str(name)] = ((*axes, *own), values)
    return xr.Dataset(
        variables,
        coords={
            **_grid(config), "sampled_way": list(SAMPLED_WAYS),
            "sampled_n": first["sampled_n"].to_numpy(),
        },
    )  # fmt: skip


def _grid(config: Config) -> dict[str, list[int]]:
    return {"units": list(config.units), "kinks": list(range(config.units[-1] + 1))}


def _degeneracies(config: Config) -> xr.Dataset:
    """Tabulate theory by units, kinks and way; NaN where kinks exceed units."""
    shape = (len(config.units), config.units[-1] + 1, len(WAYS))
    limit, fibre, null = (np.full(shape, np.nan) for _ in range(3))
    for i, units in enumerate(config.units):
        for at in representations(units):
            places = range(len(WAYS)) if at.surplus == 0 else [WAYS.index(at.way)]
            for j in places:
                limit[i, at.kinks, j] = float(at.learning_coefficient)
                fibre[i, at.kinks, j], null[i, at.kinks, j] = at.fibre, nullity(at)
    axes = ("units", "kinks", "way")
    variables = {"representation_limit": limit, "fibre": fibre, "nullity": null}
    return xr.Dataset(
        {name: (axes, values) for name, values in variables.items()},
        coords={**_grid(config), "way": list(WAYS)},
    )


def _case(kind: str, gap: float) -> str:
    return f"{kind}, gap {gap:g}"
