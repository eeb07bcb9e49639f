"""The posterior of the first of two breakpoints given data: by panels, and by samples.

All is as in ``exact``, with sums over data in place of integrals over inputs.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from scipy.special import ndtr

from slt_jax.oracles.quadrature import panel_rule

from .exact import FEWER, SAFETY, Pairs, log_densities
from .nets import NOISE, Floats, Net
from .sampled import SortedData, truth_of

# Panels on a bin of the first breakpoint, and on the box of the second.
PANELS_OF_BIN, PANELS = 2, 100


def simulated(net: Net, n: int, key: Array) -> SortedData:
    """Draw x ~ U[0, 1] and y = f₀(x) + NOISE · N(0, 1)."""
    input_key, noise_key = jax.random.split(key)
    x = np.asarray(jax.random.uniform(input_key, (n,)), float)
    noise = np.asarray(jax.random.normal(noise_key, (n,)), float)
    return SortedData.of(net, x, truth_of(net, x) + NOISE * noise)


class Shares(NamedTuple):
    """Posterior probabilities of the bins [bin] of the first breakpoint, and their bound."""

    value: Floats
    error: Floats


def exact_shares(net: Net, data: SortedData, bins: int, order: int) -> Shares:
    """Integrate over both breakpoints, panel by panel of every bin.

    The bound is ten times the difference to a rule of two nodes fewer on each panel.
    """
    fine, coarse = (_shares(net, data, bins, each) for each in (order, order - FEWER))
    return Shares(fine, SAFETY * np.abs(fine - coarse) + 1e-12)


def _shares(net: Net, data: SortedData, bins: int, order: int) -> Floats:
    first = panel_rule(np.linspace(net.low[0], net.high[0], PANELS_OF_BIN * bins + 1), order)
    second = panel_rule(np.linspace(net.low[1], net.high[1], PANELS + 1), order)
    t = np.stack(np.broadcast_arrays(first.nodes[:, None], second.nodes))
    weights = np.outer(first.weights, second.weights)
    x, sums = np.asarray(data.x), np.asarray(data.sums)
    log_value, _ = log_densities(data_pairs(net, x, sums, t, weights), 1.0)
    log_value = log_value.reshape(weights.shape)
    mass = (weights * np.exp(log_value - log_value.max())).sum(axis=1)
    by_bin = mass.reshape(bins, -1).sum(axis=1)
    return np.asarray(by_bin / by_bin.sum())


def data_pairs(net: Net, x: Floats, sums: Floats, t: Floats, weights: Floats) -> Pairs:
    """Add up over data what ``log_densities`` needs at breakpoints t [2, …], of all n data.

    ψ is the misfit of the prior's mean to the data, but for the residuals' own square.
    """
    ends = [*t, *(np.full_like(t[0], kink) for kink in net.kinks)]
    first = [np.searchsorted(x, end) for end in ends]
    own = [sums[k] for k in first]
    v = [*net.slopes, *(-net.true_slopes)]

    def form(i: int, j: int) -> Floats:
        m0, m1, m2 = np.moveaxis(sums[np.maximum(first[i], first[j])][..., :3], -1, 0)
        return np.asarray(m2 - (ends[i] + ends[j]) * m1 + ends[i] * ends[j] * m0)

    forms = {(i, j): form(i, j) for i in range(4) for j in range(i, 4)}
    forms |= {(j, i): value for (i, j), value in forms.items()}
    noise = [own[i][..., 4] - ends[i] * own[i][..., 3] for i in range(4)]
    with_misfit = [sum(v[j] * forms[i, j] for j in range(4)) - noise[i] for i in range(2)]
    square = sum(v[i] * (sum(v[j] * forms[i, j] for j in range(4)) - 2 * noise[i])
                 for i in range(4))  # fmt: skip
    gram = [forms[1, 1], forms[0, 1] - forms[1, 1], forms[0, 0] - 2 * forms[0, 1] + forms[1, 1]]
    cross = [with_misfit[1], with_misfit[0] - with_misfit[1]]
    flat = [
        np.asarray(values).reshape(*np.shape(values)[:-2], -1) / NOISE**2
        for values in (gram, cross, square)
    ]
    return Pairs(np.log(weights.ravel()), *flat)


def sampled_shares(positions: Floats, net: Net, bins: int) -> Floats:
    """Count the share of each run's particles in every bin, [run, bin], from positions."""
    first = ndtr(positions[..., positions.shape[-1] // 2])
    place = np.minimum((first * bins).astype(int), bins - 1)
    return np.stack([np.bincount(run, minlength=bins) / run.size for run in place])
