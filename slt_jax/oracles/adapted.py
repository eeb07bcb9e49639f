"""Rules that each data set lays out for itself, part by part, so that no rule is held whole."""

from collections.abc import Iterator, Sequence
from typing import Any

from slt_jax.model import FeatureRegression, Model, Regression
from slt_jax.oracles.cells import cell_blocks, cells_of
from slt_jax.oracles.charts import prior_chart
from slt_jax.oracles.kinks import kinks_rule
from slt_jax.oracles.latents import Resolution
from slt_jax.oracles.moments import NodeBlock, node_blocks
from slt_jax.oracles.powers import latent_gaussian, powers_rule
from slt_jax.oracles.structures import (
    CellsLatent,
    Collapse,
    KinksLatent,
    Latent,
    LinearBlock,
    PowersLatent,
    Structure,
)


def is_adapted(latent: Latent) -> bool:
    """Whether each data set has a rule of its own."""
    return isinstance(latent, CellsLatent | KinksLatent | PowersLatent)


def is_costly(latent: Latent) -> bool:
    """Whether one data set takes many seconds, so that an oracle is there for who asks for it."""
    return isinstance(latent, CellsLatent) and latent.num_units * len(latent.coordinates) > 2


def adapted_blocks(
    structure: Structure,
    model: Model,
    pieces: Sequence[Any],
    beta: float,
    resolutions: Sequence[Resolution],
) -> list[Iterator[NodeBlock]]:
    """Rules for the posterior at β of one data set, given as statistics that add up, in blocks.

    The resolutions differ in their orders alone, so that cells are those of all of them. Raises
    ValueError where a rule takes more nodes than memory should hold at a time, or more cells than
    time allows.
    """
    latent = structure.latent
    if isinstance(latent, CellsLatent):
        chart = prior_chart(latent)
        cells, _ = cells_of(chart, structure, model, pieces, beta, resolutions[-1])
        orders = (each.order for each in resolutions)
        return [cell_blocks(chart, structure, model, pieces, cells, order) for order in orders]
    return [_in_parts(structure, model, pieces, beta, each) for each in resolutions]


def _in_parts(
    structure: Structure, model: Model, pieces: Sequence[Any], beta: float, resolution: Resolution
) -> Iterator[NodeBlock]:
    match structure.latent:
        case PowersLatent() as latent:
            assert isinstance(structure, Collapse)
            assert isinstance(model, FeatureRegression)
            count = len(latent.exponents)
            likelihood = latent_gaussian(structure, model.noise, pieces[0], beta, count)
            for part in powers_rule(latent, likelihood, resolution):
                yield from node_blocks(part)
        case KinksLatent() as latent:
            assert isinstance(structure, LinearBlock)
            assert isinstance(model, Regression)
            sensitivity = beta * (structure.scale / model.noise) ** 2
            yield from kinks_rule(latent, sensitivity, pieces, resolution)
        case latent:
            raise TypeError(f"{latent} has a rule that all data sets share")
