"""Every law answers as the protocol asks: values, rules and charts that hold the whole prior."""

import copy
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

from slt_jax.oracles import laws
from slt_jax.oracles.laws.box import BoxLatent, Coordinate, normal_coordinate
from slt_jax.oracles.laws.breakpoints import BreakpointsLatent
from slt_jax.oracles.laws.cells import CellsLatent
from slt_jax.oracles.laws.cuts import FACTORS
from slt_jax.oracles.laws.halves import HalvesLatent
from slt_jax.oracles.laws.law import RESOLUTIONS, Law, SharedLaw
from slt_jax.oracles.laws.layers import LayersLatent
from slt_jax.oracles.laws.matrix import MatrixLatent
from slt_jax.oracles.laws.none import NoLatent
from slt_jax.oracles.laws.odd_units import OddUnitsLatent
from slt_jax.oracles.laws.powers import PowersLatent
from slt_jax.oracles.laws.products import PowerLatent, ProductLatent, Sharpness
from slt_jax.oracles.laws.units import UnitsLatent
from slt_jax.oracles.quadrature import panel_rule

SCALE = 1.3
WEIGHT = normal_coordinate(SCALE, (0.7,))
LAWS: tuple[Law, ...] = (
    NoLatent(),
    ProductLatent(((1,), (2, 1)), SCALE),
    PowerLatent((2, 2), SCALE),
    PowerLatent((3, 2), SCALE),
    PowersLatent((2, 1), SCALE),
    OddUnitsLatent(2, SCALE, (0.7,)),
    OddUnitsLatent(4, SCALE, (0.7,)),
    MatrixLatent(3, 1, SCALE),
    MatrixLatent(1, 2, SCALE, (0.6, 0.8)),
    MatrixLatent(2, 2, SCALE),
    LayersLatent((2, 1), 2, SCALE, (0.6, 0.8)),
    LayersLatent((2, 2), 1, SCALE),
    LayersLatent((2, 3), 2, SCALE),
    HalvesLatent(3, SCALE),
    BoxLatent((WEIGHT, Coordinate(0.0, 1.0, singular=(0.0, 1.0), rate=1.0))),
    CellsLatent((Coordinate(-2.0, 1.0), WEIGHT)),
    UnitsLatent((WEIGHT, WEIGHT)),
    UnitsLatent((WEIGHT, WEIGHT), 2, odd=True),
    BreakpointsLatent(bias=True, scale=SCALE),
)
EVERY = pytest.mark.parametrize("law", LAWS, ids=str)
SHARED = [law for law in LAWS if isinstance(law, SharedLaw) and not law.is_data_dependent]


def test_every_law_is_asked() -> None:
    modules = (
        importlib.import_module(f"{laws.__name__}.{module.name}")
        for module in pkgutil.iter_modules(laws.__path__)
    )
    members = {
        each for module in modules for _, each in inspect.getmembers(module, inspect.isclass)
    }
    final = {each for each in members if issubclass(each, Law) and not inspect.isabstract(each)}
    assert final == {type(law) for law in LAWS}


@EVERY
def test_a_law_is_a_value(law: Law) -> None:
    """It is part of a constant of compiled functions."""
    other = copy.deepcopy(law)
    assert other == law
    assert hash(other) == hash(law)
    assert len({*LAWS}) == len(LAWS)


@pytest.mark.parametrize("law", SHARED, ids=str)
def test_a_rule_holds_the_prior(law: SharedLaw) -> None:
    """The weights add up to one, or nearly so where the rule is made for a posterior."""
    sharpness, most = (30.0,), 1e-6
    if isinstance(law, ProductLatent):
        sharpness, most = Sharpness((3.0, 3.0), (2.0, 2.0), (0.5, 0.0)), 5e-3
    nodes, log_weights = law.rule(sharpness, RESOLUTIONS[3])
    assert nodes.shape == (len(log_weights), nodes.shape[1])
    assert np.sum(np.exp(log_weights)) == pytest.approx(1.0, abs=most)


@EVERY
def test_cuts_leave_little_and_ever_less(law: Law) -> None:
    for cut in law.cuts():
        tails = np.array(cut.log_tails)
        assert np.all((tails[1:] < tails[:-1]) | np.isneginf(tails[1:]))
        assert tails[0] < -20
        nodes = np.ones((2, 1 + max(cut.columns)))
        lengths = np.linalg.norm(cut.beyond(nodes)[:, :, cut.columns], axis=2)
        np.testing.assert_allclose(lengths, cut.radius * np.outer(FACTORS, np.ones(4)))


@EVERY
def test_charts_hold_the_prior(law: Law) -> None:
    """The densities of their axes are normalised, and the shares of the charts add up to one."""
    charts = law.charts(60.0)
    for axis in (axis for chart in charts for axis in chart.axes):
        nodes, weights = panel_rule(axis.edges, 20)
        mass = weights @ np.exp(axis.log_density(nodes)) + np.exp(axis.log_below)
        assert mass == pytest.approx(1.0, abs=1e-9)
    if charts:
        assert sum(np.exp(chart.log_share) for chart in charts) == pytest.approx(1.0)


@EVERY
def test_descriptions_are_in_words(law: Law) -> None:
    words = law.describe()
    assert bool(words) != isinstance(law, NoLatent)
    assert "{" not in words
