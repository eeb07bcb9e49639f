"""The study: exact masses and λ(n) at crossings, sampled masses beside them, and times to leave."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.estimators import diagnostics, mean_over_seeds
from slt_jax.run.sweep import Task, joined
from slt_jax.samplers.sampling import Draws, SamplerSettings
from slt_jax.samplers.sgld import SGLDSettings
from slt_jax.theory import Theory

from . import Config
from .exact import (
    TEN,
    closed_form_mass,
    codimension_mass,
    equilibrium_exit_time,
    limiting_share,
    log_size_of_share,
    quadrature_mass,
    ten_dimensional_mass,
)
from .landscapes import Kind, Landscape, landscapes, sampled_landscapes
from .local import Crossing, crossings, orders_above_one
from .walk import Loss, RandomWalkSettings, exit_times, folded, sampled, target

SAMPLERS = ("random walk", "SGLD")
LEAVING: tuple[Kind, ...] = ("min_abs", "product")
SHARES = (0.5, 0.9)
CODIMENSIONS = (1, 2, 3)
# log₁₀ n of the leading order in n, beyond the n of the exact answers.
FAR = np.linspace(4.0, 64.0, 61)
# Steps of the random walk in units of the valleys' width at the distance 1 from the crossing.
WALK_STEP = 1.5
# Mean overshoot of a random walk of normal steps beyond a level, in steps: −ζ(1/2)/√(2π); Siegmund,
# Corrected diffusion approximations in certain random walk problems, 1979.
OVERSHOOT = 0.5826


class Posteriors(NamedTuple):
    """Masses by run of one landscape at one n by one sampler, and what failed."""

    masses: np.ndarray
    reason: str
    acceptance: float


def tasks(config: Config) -> list[Task]:
    """List all work, in groups that share compiled programs."""
    do, key = functools.partial, jax.random.key(config.seed)
    sample_key, exit_key = jax.random.split(key)
    exact = [
        Task(f"exact.{at.slug}", do(exact_masses, config, at), "exact")
        for at in landscapes(config.sharpnesses)
    ]
    local = Task("local", do(local_coefficients, config), "exact")
    runs = [
        Task(f"sampled.{at.slug}", do(sampled_masses, config, sample_key, at), "sampled")
        for at in sampled_landscapes(config.sharpnesses)
    ]
    exits = [Task(f"exit.{kind}", do(exits_of, config, exit_key, kind), "exit") for kind in LEAVING]
    return [*exact, local, *runs, *exits]


def width(landscape: Landscape, n: float, distance: float) -> float:
    """Return the width of a valley at a distance from the crossing.

    1/n for |x|, else 1/√(2na) with K = ax² + …: a = distance² for x²y², and 1 at most.
    """
    if landscape.kind == "min_abs":
        return float(1 / n)
    steepness = distance**2 if landscape.kind == "product" else 1.0
    return float(1 / np.sqrt(2 * n * steepness))


def exact_masses(config: Config, landscape: Landscape) -> xr.Dataset:
    """Compute the posterior mass within each radius at each n, ``posterior_mass`` [n, radius].

    It is in closed form where there is one, and then ``route_gap`` is the largest difference to
    the quadrature in units of both bounds, else NaN. ``limiting_mass`` [n] is that of
    ``limiting_share`` at the last radius, ``far_mass`` [log_size] the same far beyond, and
    ``log_share_size`` [share] the log₁₀ of the n at which it reaches a share; NaN where there is
    none.
    """
    n, radii = np.array(config.exact_sizes, float), config.radii
    by_quadrature = quadrature_mass(landscape, config.exact_sizes, radii, config.nodes)
    closed = [closed_form_mass(landscape.kind, size, radii) for size in n]
    mass, error, gap = by_quadrature.value, by_quadrature.error, np.nan
    if all(each is not None for each in closed):
        mass, error = (np.stack([each[i] for each in closed if each]) for i in range(2))
        allowed = by_quadrature.error + error
        gap = float(np.max(np.abs(by_quadrature.value - mass) / allowed))
    has_limit = landscape.kind in ("product", "kept_cross")
    limit, far = (
        limiting_share(landscape, logs, radii[-1]) if has_limit else np.full(logs.size, np.nan)
        for logs in (np.log(n), FAR * np.log(10))
    )
    sizes = [log_size_of_share(landscape, q, radii[-1]) if has_limit else np.nan for q in SHARES]
    return xr.Dataset(
        {
            "posterior_mass": (("n", "radius"), mass),
            "posterior_mass_error": (("n", "radius"), error),
            "route_gap": gap,
            "limiting_mass": ("n", limit),
            "far_mass": ("log_size", far),
            "log_share_size": ("share", sizes),
        },
        coords={"n": n, "radius": list(radii), "share": list(SHARES), "log_size": FAR},
    )


def local_coefficients(config: Config) -> xr.Dataset:
    """Compute λ(n) at each crossing and on its valleys, within the last radius.

    ``local_coefficient`` [crossing, place, n], NaN of those that theory alone is known of, and the
    ``local_…`` of theory [crossing, place]; ``orders_above_one`` [crossing, place] is m − 1 from
    the last two n. ``dimension`` and ``direction_coefficient`` [crossing] are d and λ of a regular
    direction. ``codimension_mass`` [codimension, n] is the posterior mass of x²|v|² within that
    radius, and ``ten_dimensional_mass`` [ten_dimensional, n] that of the losses of ``TEN``.
    """
    n, r, known = np.array(config.exact_sizes, float), config.radii[-1], crossings()
    places = ("crossing", "wide valley", "narrow valley")
    theories = [(each.at_crossing, each.wide, each.narrow) for each in known]
    limit = np.array([[float(t.learning_coefficient) for t in row] for row in theories])
    values = np.stack([_curves(each, n, r) for each in known])
    orders = orders_above_one(values[..., -2:], n[-2:], limit)
    masses = [[codimension_mass(b, size, r) for size in n] for b in CODIMENSIONS]
    ten = [[ten_dimensional_mass(name, size, r) for size in n] for name in TEN]
    axes = ("crossing", "place")
    return xr.Dataset(
        {
            "local_coefficient": ((*axes, "n"), values),
            "local_limit": (axes, limit),
            "local_limit_fraction": (
                axes, [[str(t.learning_coefficient) for t in row] for row in theories],
            ),
            "local_multiplicity": (axes, [[t.multiplicity for t in row] for row in theories]),
            "orders_above_one": (axes, orders),
            "dimension": ("crossing", [each.dimension for each in known]),
            "direction_coefficient": ("crossing", [float(each.unit) for each in known]),
            "codimension_mass": (
                ("codimension", "n"), [[float(m.value) for m in row] for row in masses],
            ),
            "codimension_mass_error": (
                ("codimension", "n"), [[float(m.error) for m in row] for row in masses],
            ),
            "ten_dimensional_mass": (("ten_dimensional", "n"), ten),
        },
        coords={
            "crossing": [each.name for each in known], "place": list(places), "n": n,
            "codimension": list(CODIMENSIONS), "ten_dimensional": list(TEN),
        },
    )  # fmt: skip


def _curves(crossing: Crossing, n: np.ndarray, r: float) -> np.ndarray:
    """Compute λ(n) [place, n] of one crossing, NaN where it has no closed form."""
    if crossing.exact is None:
        return np.full((3, n.size), np.nan)
    return np.stack([curve(n, r) for curve in crossing.exact])


def sampled_masses(config: Config, key: Array, landscape: Landscape) -> xr.Dataset:
    """Sample the mass within the last radius, by both samplers at each n.

    ``sampled_mass`` [sampler, sampled_n] and its standard error over independent runs, the mean
    ``acceptance``, and whether the chains of all runs ``converged``, else the ``reason``. R̂ and
    ESS are of the energy and of max(|x|, |y|); ``num_runs`` are the independent runs.
    """
    steps = (config.warmup, config.draws, config.thinning)
    shape = (len(SAMPLERS), len(config.sampled_sizes))
    results = []
    for i, n in enumerate(config.sampled_sizes):
        start_key, *run_keys = jax.random.split(jax.random.fold_in(key, i), 1 + len(SAMPLERS))
        count = config.repeats * config.chains
        starts = jax.vmap(target().sample_prior)(jax.random.split(start_key, count))
        starts = starts.reshape(config.repeats, config.chains, 2)
        loss = Loss.of(landscape, n)
        samplers: tuple[tuple[SamplerSettings, Array], ...] = (
            (RandomWalkSettings(*steps), jnp.asarray(WALK_STEP * width(landscape, n, 1.0))),
            (SGLDSettings(*steps), jnp.asarray(config.sgld_step)),
        )
        for (settings, step), run_key in zip(samplers, run_keys, strict=True):
            keys = jax.random.split(run_key, config.repeats)
            draws = sampled(target(), settings, keys, loss, starts, step)
            results.append(judged(draws, config.radii[-1]))
    by_sampler = [results[i :: len(SAMPLERS)] for i in range(len(SAMPLERS))]
    estimates = mean_over_seeds(np.array([[r.masses for r in row] for row in by_sampler]))
    axes = ("sampler", "sampled_n")
    reasons = np.array([[r.reason for r in row] for row in by_sampler], dtype=object)
    return xr.Dataset(
        {
            "sampled_mass": (axes, estimates.value.reshape(shape)),
            "sampled_mass_se": (axes, estimates.standard_error.reshape(shape)),
            "num_runs": config.repeats,
            "acceptance": (axes, [[r.acceptance for r in row] for row in by_sampler]),
            "converged": (axes, reasons == ""),
            "reason": (axes, reasons),
        },
        coords={"sampler": list(SAMPLERS), "sampled_n": list(config.sampled_sizes)},
    )


def judged(draws: Draws, r: float) -> Posteriors:
    """Take the mass within r of each run from draws [S, 1, C, D], and what is wrong with them."""
    positions = np.abs(folded(np.asarray(draws.kept_positions, float)[:, 0]))
    farthest = positions.max(axis=-1)
    energies = np.asarray(draws.energies, float)[:, 0]
    by_chain = [each.reshape(-1, each.shape[-1]) for each in (energies, farthest)]
    # The walk's acceptance has no bound, as its step is given and not tuned.
    traces = diagnostics.judge(np.stack(by_chain, axis=-1))
    wrong = "" if traces.converged else traces.reason
    if draws.coarse_energies is not None:
        biased = diagnostics.judge_draws(draws)
        wrong = wrong or ("" if biased.converged else biased.reason)
    masses = (farthest < r).mean(axis=(1, 2))
    return Posteriors(masses, wrong, float(np.mean(np.asarray(draws.acceptance))))


def exits_of(config: Config, key: Array, kind: Kind) -> xr.Dataset:
    """Walk from the crossing to the last radius at each n, and compute the closed form beside it.

    ``exit_time`` [exit_n] is the mean over walks in units of r², with its standard error; r is
    where walks are on average when they have left, 0.58 steps beyond.
    ``exit_unfinished`` walks have not left within the allowed steps, and count with what they took.
    ``exit_closed_form`` [exit_n] is that of ``equilibrium_exit_time``, which is also given at the n
    of the exact answers [n].
    """
    landscape = Landscape(kind)
    sizes = config.exit_sizes if kind == "min_abs" else config.product_exit_sizes
    r = config.radii[-1]
    times, unfinished = [], []
    for i, n in enumerate(sizes):
        run_key = jax.random.fold_in(jax.random.fold_in(key, LEAVING.index(kind)), i)
        # Not longer than the way itself, where the valley is as wide.
        step = config.exit_step * min(width(landscape, n, r), r / 10)
        walks = exit_times(landscape, run_key, n, r, step, config.walkers, config.max_steps)
        times.append(walks.times / (r + OVERSHOOT * step) ** 2)
        unfinished.append(float(np.sum(~walks.left)))
    estimates = mean_over_seeds(np.array(times))
    exact = [equilibrium_exit_time(kind, n, r) / r**2 for n in sizes]
    curve = [equilibrium_exit_time(kind, n, r) / r**2 for n in config.exact_sizes]
    return xr.Dataset(
        {
            "exit_time": ("exit_n", estimates.value),
            "exit_time_se": ("exit_n", estimates.standard_error),
            "exit_unfinished": ("exit_n", unfinished),
            "exit_closed_form": ("exit_n", exact),
            "equilibrium_exit_time": ("n", curve),
        },
        coords={"exit_n": list(sizes), "n": np.array(config.exact_sizes, float)},
    )


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset of all results.

    It holds what ``exact_masses`` makes [landscape, …], ``sampled_masses`` [sampled_landscape, …],
    ``exits_of`` [leaving, …], NaN at the n of the other, ``local_coefficients``, and what
    ``theory_of`` says of valleys and crossings [landscape].
    """
    landscape = landscapes(config.sharpnesses)
    chosen = sampled_landscapes(config.sharpnesses)
    parts = [
        joined("landscape", [at.name for at in landscape],
               [results[f"exact.{at.slug}"] for at in landscape]),
        joined("sampled_landscape", [at.name for at in chosen],
               [results[f"sampled.{at.slug}"] for at in chosen]),
        joined("leaving", [Landscape(kind).name for kind in LEAVING],
               [results[f"exit.{kind}"] for kind in LEAVING]),
        results["local"].drop_attrs(),
    ]  # fmt: skip
    merged = xr.merge(parts, join="outer")
    for place, known in (
        ("valley", [at.at_valley() for at in landscape]),
        ("crossing", [at.at_crossing() for at in landscape]),
    ):
        merged = merged.assign(theory_of(place, known))
    return merged


def theory_of(place: str, known: Sequence[Theory | None]) -> dict[str, tuple[str, list[Any]]]:
    """Return λ, λ as a fraction and m of a place [landscape].

    NaN, "–" and 0 stand where the place is no minimum. They are no part of the tasks: strings of
    different lengths, some of them from disk, do not join.
    """
    rows = [
        (np.nan, "–", 0)
        if each is None
        else (
            float(each.learning_coefficient), str(each.learning_coefficient), each.multiplicity,
        )
        for each in known
    ]  # fmt: skip
    names = (
        f"{place}_learning_coefficient",
        f"{place}_learning_coefficient_fraction",
        f"{place}_multiplicity",
    )
    return {
        name: ("landscape", list(column))
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
