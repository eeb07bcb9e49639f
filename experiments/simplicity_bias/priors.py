"""The probabilities of functions of each complexity under the prior of a map."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from . import Config
from .complexity import UNIT
from .counting import Counts, drawn_counts, merged, wilson
from .maps import Map, Scales
from .perceptron import constant_probability

# A function that is drawn so often has its probability to a third.
MIN_COUNT = 10
# K is a multiple of half a word's bits; no string of 128 has more than the last.
COMPLEXITIES = UNIT * np.arange(2, 61)
# Two-sided tails of 5 %, and of 6·10⁻⁷ for the extremes of many functions.
SHOWN, EXTREME = 1.96, 5.0
DEEPEST_BIT = 40


def prior_of(config: Config, key: Array, at: Map) -> xr.Dataset:
    """Draw functions from the prior of a map, in independent repeats, and count them.

    A function is resolved if it is drawn ten times or more. Of all draws: ``function_count``
    [complexity, bit] is the number of resolved functions with P from 2^{−bit−1} to 2^{−bit};
    ``best_probability`` [complexity] is the P of the likeliest one with its 95 % interval, and
    ``best_least`` and ``best_most`` an interval of 5 standard errors, from 0 where none is
    resolved. Of each repeat: ``draw_share`` [repeat, complexity], ``resolved_share`` [repeat],
    ``best_by_repeat`` [repeat, complexity], NaN where none is resolved, and ``occupied`` [repeat,
    complexity, bit]. ``constant_share`` [repeat] is that of the function 0, and
    ``exact_constant`` its exact value, NaN where none is known.
    """
    scale = config.wide_weight_scale if at.wide else config.weight_scale
    scales = Scales(jnp.float32(scale), jnp.float32(config.bias_scale))
    size = config.batches * config.batch_draws
    parts = [
        drawn_counts(at, jax.random.fold_in(key, i), size, config.batch_draws, scales)
        for i in range(config.repeats)
    ]
    whole = merged(parts)
    best = _best_counts(whole)
    low, high = wilson(best, config.draws, SHOWN)
    least, most = wilson(best, config.draws, EXTREME)
    shares = [_by_complexity(part) / size for part in parts]
    bests = np.stack([_best_counts(part) for part in parts])
    resolved = [part.drawn[part.drawn >= MIN_COUNT].sum() / size for part in parts]
    zero = [part.drawn[~part.words.any(axis=1)].sum() / size for part in parts]
    occupied = np.stack([_table(part, size) > 0 for part in parts])
    shown = best >= MIN_COUNT
    return xr.Dataset(
        {
            "function_count": (("complexity", "bit"), _table(whole, config.draws)),
            "best_probability": ("complexity", np.where(shown, best / config.draws, np.nan)),
            "best_low": ("complexity", np.where(shown, low, np.nan)),
            "best_high": ("complexity", np.where(shown, high, np.nan)),
            "best_least": ("complexity", np.where(shown, least, 0.0)),
            "best_most": ("complexity", most),
            "draw_share": (("repeat", "complexity"), np.stack(shares)),
            "resolved_share": ("repeat", resolved),
            "best_by_repeat": (
                ("repeat", "complexity"), np.where(bests >= MIN_COUNT, bests / size, np.nan),
            ),
            "occupied": (("repeat", "complexity", "bit"), occupied.astype(np.int8)),
            "constant_share": ("repeat", zero),
            "distinct": len(whole.drawn),
            "max_complexity": float(whole.complexity.max()),
            **_exact(config, at),
        },
        coords={"complexity": COMPLEXITIES, "bit": np.arange(DEEPEST_BIT)},
    )  # fmt: skip


def _exact(config: Config, at: Map) -> dict[str, float]:
    """Return the exact probability of the function 0 and its bound, NaN where it is not known."""
    if at.name == "perceptron":
        found = constant_probability(config.weight_scale, config.bias_scale)
        return {"exact_constant": found.value, "exact_constant_error": found.error}
    if at.name == "table":
        return {"exact_constant": 2.0**-at.log_outputs, "exact_constant_error": 0.0}
    return {"exact_constant": np.nan, "exact_constant_error": np.nan}


def _place(complexity: np.ndarray) -> np.ndarray:
    return np.rint(complexity / UNIT).astype(int) - 2


def _by_complexity(counts: Counts) -> np.ndarray:
    """Count the draws of each complexity."""
    return np.bincount(_place(counts.complexity), counts.drawn, COMPLEXITIES.size)


def _best_counts(counts: Counts) -> np.ndarray:
    """Return the largest count of each complexity, 0 where there is no function."""
    best = np.zeros(COMPLEXITIES.size)
    np.maximum.at(best, _place(counts.complexity), counts.drawn)
    return best


def _table(counts: Counts, draws: int) -> np.ndarray:
    """Count resolved functions by complexity and by the bits of their probability."""
    resolved = counts.drawn >= MIN_COUNT
    bits = np.floor(-np.log2(counts.drawn[resolved] / draws)).astype(int)
    table = np.zeros((COMPLEXITIES.size, DEEPEST_BIT), int)
    places = _place(counts.complexity[resolved]), np.minimum(bits, DEEPEST_BIT - 1)
    np.add.at(table, places, 1)
    return table
