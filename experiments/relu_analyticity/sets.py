"""Exact curves of data sets on one design, with the same noise at every n."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from .evidence import Noise, laid_out, term_of
from .nets import Floats, Net, OneUnit, TwoUnits, input_rule

# Data sets whose terms are held at a time, as [data set, node] of many leaves the cache.
AT_A_TIME = 16


class SetCurves(NamedTuple):
    """Quantities [n, data set]: F_n − nL_n(w₀), its derivative in log n, and nB_g."""

    free_energy: Floats
    coefficient: Floats
    bayes_error: Floats


class Part(NamedTuple):
    """Nodes with the noise on them; two units have a second part, mirrored in x."""

    nodes: OneUnit | TwoUnits
    noise: Noise
    mirrored: bool


def curves_of_sets(
    net: Net,
    units: int,
    kink: bool,
    orders: tuple[int, int],
    sizes: Sequence[int],
    noise: Floats,
) -> SetCurves:
    """Compute the curves of D data sets with ``noise`` ξ ~ N(0, 1) [D, X].

    ``orders`` are those of the rules of b and of x. At an input x of weight v are nv data, whose
    mean is f₀(x) + ξ/√(nv). nB_g is n/2 times the mean square of E_w[f] − f₀, which is the leading
    order; on this design its mean over noise is that of the derivative, at every n.
    """
    inputs = input_rule(orders[1])
    target = np.sqrt(inputs.weights) * np.maximum(inputs.nodes, 0.0) * kink
    nodes = laid_out(net, units, kink, orders, sizes)
    found = []
    for chunk in np.array_split(noise, -(-len(noise) // AT_A_TIME)):
        parts = [part_of(nodes, chunk, False)]
        if units == 2:
            parts.append(part_of(nodes, chunk, True))
        found.append(np.array([_point(parts, float(n), target) for n in sizes]))
    return SetCurves(*np.concatenate(found, axis=-1).transpose(1, 0, 2))


def part_of(nodes: OneUnit | TwoUnits, noise: Floats, mirrored: bool) -> Part:
    """Project noise [D, X] on what the nodes know; mirrored nodes see it from the other side."""
    seen = noise[:, ::-1] if mirrored else noise
    if isinstance(nodes, OneUnit):
        return Part(nodes, Noise(seen @ nodes.unit.T, seen @ nodes.residual.T), mirrored)
    lower, upper = nodes.units
    return Part(nodes, Noise(seen @ lower.T, (seen @ upper.T)[:, nodes.place]), mirrored)


def _point(parts: Sequence[Part], n: float, target: Floats) -> tuple[Floats, Floats, Floats]:
    """Sum over the nodes of all parts; the weights of nodes are shared between the parts."""
    terms = [term_of(part.nodes, n, part.noise) for part in parts]
    logs = [
        term.value + part.nodes.log_weights - np.log(len(parts))
        for part, term in zip(parts, terms, strict=True)
    ]
    total = logsumexp([logsumexp(each, axis=-1) for each in logs], axis=0)
    coefficient, mean = np.zeros(len(total)), -target
    for part, term, each in zip(parts, terms, logs, strict=True):
        share = np.exp(each - total[:, None])
        coefficient -= np.einsum("dn,dn->d", share, term.slope)
        shown = _mean_function(part, n, share)
        mean = mean + (shown[:, ::-1] if part.mirrored else shown)
    return -total, coefficient, n / 2 * np.einsum("dx,dx->d", mean, mean)


def _mean_function(part: Part, n: float, share: Floats) -> Floats:
    """Average f with weights [D, N] over the nodes, [D, X] times √(weight of x)."""
    nodes, noise, root = part.nodes, part.noise, np.sqrt(n)
    if isinstance(nodes, OneUnit):
        signal = n * nodes.square
        output = (root * noise.first + nodes.best_weight * signal) / (1 + signal)
        return np.asarray((share * output) @ nodes.unit)
    apart = n * nodes.second * (noise.first - nodes.slope * noise.second)
    size = 1 + n * (nodes.first + nodes.second) + n**2 * nodes.second * nodes.remainder
    scaled = share * (root / size)
    lower, upper = nodes.units
    second = scaled * (noise.second * (1 + n * nodes.remainder) - nodes.slope * apart)
    by_row = second.reshape(len(share), len(upper), -1).sum(axis=-1)
    return np.asarray((scaled * (noise.first + apart)) @ lower + by_row @ upper)
