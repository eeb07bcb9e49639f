"""All pairs of classes: what λ(n) at each n, and λ by theorem, say of their orders."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from . import ranks
from .pool import Floats

STREAM = 15
# λ(n) that differ by less are not told apart: 20 times what the allowed error can change.
SMALLEST_REVERSAL = 0.1
# Of all pairs of classes together.
REVERSAL_LEVEL = 1e-3


class Comparison(NamedTuple):
    """The numbers of an ordered pair of classes, named as in the dataset, and a reversal's."""

    rank_correlation: float = np.nan
    rank_correlation_low: float = np.nan
    rank_correlation_high: float = np.nan
    num_common: int = 0
    explained_after: float = np.nan
    explained_ahead: float = np.nan
    relative_difference: float = np.nan
    reversal: float = np.nan
    reversal_p_value: float = np.nan
    reversal_above: str = "–"
    reversal_below: str = "–"


def compared(
    seed: int,
    bootstraps: int,
    classes: Sequence[str],
    targets: Sequence[str],
    sizes: Sequence[int],
    known: Sequence[Sequence[ranks.Sampled]],
    counted: Floats,
) -> xr.Dataset:
    """Compare λ(n) of all pairs of classes, [n, model_class, other_class].

    ``known`` [n][class] are λ(n) with their errors; ``counted`` [n, class, T] chooses cells.
    """
    count = len(classes)
    level = REVERSAL_LEVEL / math.comb(count, 2)
    table = {
        (i, a, b): _comparison(
            np.random.default_rng((seed, STREAM, i, min(a, b), max(a, b))),
            bootstraps, targets, known[i], counted[i], (a, b), level,
        )
        for i in range(len(sizes))
        for a, b in itertools.permutations(range(count), 2)
    }  # fmt: skip
    empty = Comparison()
    rows = [
        [[table.get((i, a, b), empty) for b in range(count)] for a in range(count)]
        for i in range(len(sizes))
    ]
    axes = ("n", "model_class", "other_class")
    return xr.Dataset(
        {
            name: (axes, [[[getattr(entry, name) for entry in row] for row in of_n]
                          for of_n in rows])
            for name in Comparison._fields
        },
        coords={"n": list(sizes), "model_class": list(classes), "other_class": list(classes)},
    )  # fmt: skip


def _comparison(
    rng: np.random.Generator,
    bootstraps: int,
    targets: Sequence[str],
    known: Sequence[ranks.Sampled],
    counted: Floats,
    pair: tuple[int, int],
    level: float,
) -> Comparison:
    chosen = np.flatnonzero(counted[pair[0]] & counted[pair[1]])
    one, other = (known[c].kept(chosen) for c in pair)
    # Both orders of a pair get the same bootstrap.
    in_order = (one, other) if pair[0] < pair[1] else (other, one)
    rho = ranks.correlation(*in_order, bootstraps, rng)
    reversal = ranks.clearest_reversal(one, other, SMALLEST_REVERSAL, level)
    explained = ranks.monotone_map(one.value, other.value)
    apart = np.nan
    if len(chosen):
        largest = [np.max(known[c].value[counted[c]]) for c in pair]
        relative = one.value / largest[0] - other.value / largest[1]
        apart = float(np.sqrt(np.mean(relative**2)))
    return Comparison(
        rho.rho, rho.low, rho.high, rho.common, *explained, apart, reversal.size, reversal.p_value,
        *_names(targets, chosen, reversal),
    )  # fmt: skip


def _names(targets: Sequence[str], chosen: Floats, reversal: ranks.Reversal) -> tuple[str, str]:
    if reversal.first < 0:
        return "–", "–"
    return targets[chosen[reversal.first]], targets[chosen[reversal.second]]


def by_theorem(classes: Sequence[str], targets: Sequence[str], limits: Floats) -> xr.Dataset:
    """Compare λ itself [class, T] of all pairs of classes, [model_class, other_class].

    ρ is NaN where λ is constant in one of them, or not known.
    """
    count = len(classes)
    rho, size = np.full((2, count, count), np.nan)
    common = np.zeros((count, count), int)
    names = np.full((2, count, count), "–", dtype=object)
    for a, b in itertools.permutations(range(count), 2):
        chosen = np.flatnonzero(np.isfinite(limits[a]) & np.isfinite(limits[b]))
        common[a, b] = len(chosen)
        if len(chosen) < 2:
            continue
        one, other = (ranks.Sampled.exactly(limits[c, chosen], 0 * limits[c, chosen])
                      for c in (a, b))  # fmt: skip
        rho[a, b] = ranks.spearman(one.value, other.value)
        reversal = ranks.clearest_reversal(one, other, 0.0, REVERSAL_LEVEL)
        size[a, b] = reversal.size
        names[:, a, b] = _names(targets, chosen, reversal)
    above, below = names.astype(str)
    axes = ("model_class", "other_class")
    return xr.Dataset(
        {
            "limit_rank_correlation": (axes, rho),
            "limit_common": (axes, common),
            "limit_reversal": (axes, size),
            "limit_reversal_above": (axes, above),
            "limit_reversal_below": (axes, below),
        },
        coords={"model_class": list(classes), "other_class": list(classes)},
    )
