"""The study: priors over Boolean functions, prior volumes, and nets that learn digits."""

import functools
import math
from collections.abc import Callable, Mapping

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax import theory
from slt_jax.estimators import log_mean_over_seeds, mean_over_seeds
from slt_jax.run.sweep import Task, joined

from . import Config
from .digits import learnt_digits
from .maps import maps
from .priors import MIN_COUNT, prior_of
from .volumes import Target, Volumes, targets

# log₁₀ n at which exact growth is followed, far beyond any data.
FAR = np.arange(2.0, 161.0)
# The first level of splitting, which plain draws find.
FIRST_LEVEL = 0.6
# The last doublings of n, over which growth is measured.
LAST = 3


def tasks(config: Config) -> list[Task]:
    """List all work, in groups that share compiled programs."""
    do, key = functools.partial, jax.random.key(config.seed)
    prior_key, digit_key, volume_key = jax.random.split(key, 3)
    priors = [
        Task(
            f"prior.{at.slug}", do(prior_of, config, jax.random.fold_in(prior_key, i), at), "prior"
        )
        for i, at in enumerate(maps())
    ]
    volumes = [
        Task(
            f"volume.{i}", do(volume_of, config, jax.random.fold_in(volume_key, i), at), "volume"
        )
        for i, at in enumerate(targets())
    ]  # fmt: skip
    # One key: nets of all widths learn the same digits.
    learnt = [
        Task(f"digits.{width}", do(learnt_digits, config, digit_key, width), "digits")
        for width in config.widths
    ]
    return [*priors, *volumes, *learnt]


def volume_of(config: Config, key: Array, target: Target) -> xr.Dataset:
    """Compute −log₂ V(1/n) of a function, exactly and by splitting.

    ``exact_bits`` [volume_n] has its bound, NaN where there is no exact volume, as ``far_growth``
    [log_size], its growth for each doubling of n around 10^log_size. ``bits`` [volume_n] is by
    splitting, and ``growth`` its mean over the last doublings of n, with standard errors over
    independent runs; ``exact_growth`` is that of the exact bits.
    """
    n = np.array(config.volume_sizes, float)
    corner = np.ones(target.dimension)
    levels = _levels(np.log(n))
    seed = np.asarray(jax.random.key_data(key)).tolist()
    runs = theory.volume_scaling(
        target.excess, -corner, corner, np.random.default_rng(seed), log_n=levels,
        particles=config.particles, replicates=config.volume_repeats, sweeps=config.sweeps,
    )  # fmt: skip
    kept = runs.log_z[:, np.searchsorted(levels, np.log(n) - 1e-9)]
    estimate = log_mean_over_seeds(kept.T)
    doublings = np.log2(n[-1] / n[-1 - LAST])
    slopes = (kept[:, -1 - LAST] - kept[:, -1]) / math.log(2) / doublings
    growth = mean_over_seeds(slopes)
    exact, bound, far = (np.full(size, np.nan) for size in (n.size, n.size, FAR.size))
    if target.exact is not None:
        exact, bound = target.exact(n)
        far = _growth(target.exact, 10**FAR)
    return xr.Dataset(
        {
            "exact_bits": ("volume_n", -exact / math.log(2)),
            "exact_bits_error": ("volume_n", bound / math.log(2)),
            "far_growth": ("log_size", far),
            "exact_growth": float((exact[-1 - LAST] - exact[-1]) / math.log(2) / doublings),
            "bits": ("volume_n", -estimate.value / math.log(2)),
            "bits_se": ("volume_n", estimate.standard_error / math.log(2)),
            "growth": float(growth.value),
            "growth_se": float(growth.standard_error),
            "volume_runs": config.volume_repeats,
        },
        coords={"volume_n": n, "log_size": FAR},
    )


def _levels(log_n: np.ndarray) -> np.ndarray:
    """Add levels from the first one on, so that none are farther apart than a factor of two."""
    ends = [math.log(FIRST_LEVEL), *log_n]
    parts = [
        np.linspace(low, high, 1 + math.ceil((high - low) / math.log(2) - 1e-9))[1:]
        for low, high in zip(ends, ends[1:], strict=False)
    ]
    return np.concatenate(parts)


def _growth(exact: Callable[[np.ndarray], Volumes], n: np.ndarray) -> np.ndarray:
    """Return the exact growth of −log₂ V from n/√2 to √2·n."""
    below, above = (exact(n * factor).value for factor in (math.sqrt(0.5), math.sqrt(2)))
    return np.asarray((below - above) / math.log(2))


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Put all that verdict and figures need into one dataset, with the bound and the theorems.

    ``bound_slope`` [map] is a = log₂ N/max K of the bound P ≤ 2^{−aK−b}, with N the number of
    functions that the map can reach and max K the largest complexity that was drawn of that set.
    This and b = 0 are what the bound's authors predict without draws.

    Source: Dingle, Camargo & Louis, Nature Communications 9 (2018) 761.
    """
    known, functions = maps(), targets()
    priors = joined("map", [at.name for at in known], [results[f"prior.{at.slug}"] for at in known])
    largest = {
        name: max(
            float(priors["max_complexity"].sel(map=at.name))
            for at in known if at.outputs == name
        )
        for name in {at.outputs for at in known}
    }  # fmt: skip
    slopes = [at.log_outputs / largest[at.outputs] for at in known]
    priors = priors.assign(
        bound_slope=("map", slopes), log_outputs=("map", [at.log_outputs for at in known]),
        outputs=("map", [at.outputs for at in known]),
        draws=config.draws, draws_of_repeat=config.batches * config.batch_draws,
        min_count=MIN_COUNT,
    )  # fmt: skip
    names = [at.name for at in functions]
    volumes = joined("target", names, [results[f"volume.{i}"] for i in range(len(names))]).assign(
        learning_coefficient=(
            "target", [float(at.theory.learning_coefficient) for at in functions],
        ),
        exact_learning_coefficient=(
            "target", [str(at.theory.learning_coefficient) for at in functions],
        ),
        multiplicity=("target", [at.theory.multiplicity for at in functions]),
    )  # fmt: skip
    learnt = joined(
        "width", config.widths, [results[f"digits.{width}"] for width in config.widths]
    ).assign(train_size=config.train_size)
    return xr.merge([priors, volumes, learnt])
