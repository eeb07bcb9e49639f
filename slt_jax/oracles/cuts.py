"""Ends of the fixed rules, and a bound on the integrand beyond them.

A fine and a coarse rule that are cut at the same place agree with each other however wrong they
are. What is left out is bounded by the prior mass beyond the cut times the highest evidence there,
which is looked for at nodes beyond it: the most likely ones of the rule, with one of their
coordinates carried out.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import chi, norm

from slt_jax.oracles.latents import LENGTH_REACH
from slt_jax.oracles.layers import HIGHEST_PER_LAYER
from slt_jax.oracles.pushforward import HIGHEST
from slt_jax.oracles.structures import (
    REACH,
    BoxLatent,
    CellsLatent,
    Coordinate,
    HalvesLatent,
    KinksLatent,
    Latent,
    LayersLatent,
    MatrixLatent,
    PowerLatent,
    PowersLatent,
    ProductLatent,
    UnitsLatent,
)

# A posterior may be anywhere between just beyond the cut and this many times as far.
FACTORS = (1.0, 1.5, 4.0, 20.0, 200.0)


class Cut(NamedTuple):
    """The rule ends where entries ``columns`` of a latent have the length ``radius``.

    ``log_tails`` are logs of the prior mass beyond each of FACTORS times this length.
    """

    columns: tuple[int, ...]
    radius: float
    log_tails: tuple[float, ...]


def cuts_of(latent: Latent) -> tuple[Cut, ...]:
    """The cuts of the rule that ``latent_rule`` or ``adapted_blocks`` lays out for a latent."""
    match latent:
        case UnitsLatent(num_units, scale, _, reach):
            return tuple(_normal(j, reach, scale) for j in range(num_units))
        case BoxLatent(coordinates):
            return _of_coordinates(coordinates)
        case CellsLatent(coordinates, num_units):
            return _of_coordinates(coordinates * num_units)
        case PowersLatent(exponents, scale):
            return tuple(_normal(j, REACH, scale, power=p) for j, p in enumerate(exponents))
        case ProductLatent(exponents, scale):
            return tuple(_product(j, each, scale) for j, each in enumerate(exponents))
        case PowerLatent(exponents, scale):
            return (_product(0, exponents, scale),)
        case HalvesLatent(num_units, scale):
            return tuple(_length((j,), num_units, scale) for j in range(2))
        case KinksLatent(_, scale):
            return (_length((0, 1), 2, scale),)
        case MatrixLatent(rows, columns, scale) if 1 in (rows, columns):
            return (_length(tuple(range(columns)), max(rows, columns), scale),)
        case MatrixLatent(rows, _, scale):
            radius = math.sqrt(rows) + LENGTH_REACH
            log_tails = _tuple(chi.logsf(radius * np.array(FACTORS), 2 * rows))
            return tuple(Cut(row, radius * scale, log_tails) for row in ((0, 1), (2, 3)))
        case LayersLatent(rows, columns, scale):
            return _of_layers(rows, columns, scale)
    return ()


def _of_coordinates(coordinates: tuple[Coordinate, ...]) -> tuple[Cut, ...]:
    return tuple(
        _normal(j, each.high / each.scale, each.scale)
        for j, each in enumerate(coordinates)
        if each.scale is not None
    )


def _tuple(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.tolist())


def _normal(column: int, reach: float, scale: float, power: int = 1) -> Cut:
    """A power of N(0, scale²), which is cut at ``reach`` standard deviations."""
    lengths = reach * np.array(FACTORS) ** (1 / power)
    log_tails = math.log(2) + norm.logsf(lengths)
    return Cut((column,), (reach * scale) ** power, _tuple(log_tails))


def _length(columns: tuple[int, ...], degrees: int, scale: float) -> Cut:
    radius = math.sqrt(degrees) + LENGTH_REACH
    log_tails = chi.logsf(radius * np.array(FACTORS), degrees)
    return Cut(columns, radius * scale, _tuple(log_tails))


def _product(column: int, exponents: tuple[int, ...], scale: float) -> Cut:
    """A product is cut where each factor is e^HIGHEST, and one of them must exceed that."""
    total = sum(exponents)
    lengths = math.exp(HIGHEST) * np.array(FACTORS) ** (1 / total)
    log_tails = math.log(2 * len(exponents)) + norm.logsf(lengths)
    return Cut((column,), math.exp(total * HIGHEST) * scale**total, _tuple(log_tails))


def _of_layers(rows: tuple[int, ...], columns: int, scale: float) -> tuple[Cut, ...]:
    """Likewise of the squared lengths, or products of singular values, of layers."""
    longest = math.exp(HIGHEST_PER_LAYER / 2)
    degrees = columns * max(rows)
    lengths = longest * np.array(FACTORS) ** (1 / len(rows))
    log_tails = math.log(len(rows)) + chi.logsf(lengths, degrees)
    radius = (longest * scale) ** len(rows)
    found = [tuple(range(columns))]
    if 1 not in (columns, *rows):
        found.append(tuple(range(columns, 2 * columns)))
    return tuple(Cut(row, radius, _tuple(log_tails)) for row in found)


def beyond(cut: Cut, nodes: np.ndarray) -> np.ndarray:
    """Nodes [factor, 2N, l]: those given [N, l], with the entries of the cut carried out of it to
    either side."""
    columns = list(cut.columns)
    row = nodes[:, columns]
    length = np.linalg.norm(row, axis=1, keepdims=True)
    direction = np.where(length > 0, row / np.where(length > 0, length, 1.0), 1.0)
    both = np.concatenate([direction, -direction])
    carried = np.tile(nodes, (len(FACTORS), 2, 1))
    carried[:, :, columns] = np.multiply.outer(np.array(FACTORS) * cut.radius, both)
    return carried
