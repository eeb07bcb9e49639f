"""ReLU boundaries: closed forms against other integrals, degeneracies, and verdicts."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import logsumexp, ndtri

from experiments.relu_boundaries.exact import (
    Curve,
    crossover,
    log_densities,
    pairs,
    population_products,
)
from experiments.relu_boundaries.figure import figure
from experiments.relu_boundaries.hidden import data_pairs, exact_shares, sampled_shares, simulated
from experiments.relu_boundaries.nets import (
    LEVELS,
    NOISE,
    PRIOR_SCALE,
    Net,
    Representation,
    hardest_loss,
    nullity,
    pair,
    representations,
    translation_loss,
)
from experiments.relu_boundaries.sampled import Local, SortedData, truth_of
from experiments.relu_boundaries.verdict import exponent, verdict
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.quadrature import panel_rule
from slt_jax.run.precision import in_float64

INPUTS = (np.arange(20000) + 0.5) / 20000


def net_output(slopes: np.ndarray, places: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(x[:, None] - places, 0) @ slopes)


def loss(net: Net, slopes: np.ndarray, places: np.ndarray) -> float:
    """K by the midpoint rule."""
    difference = net_output(slopes, places, INPUTS) - truth_of(net, INPUTS)
    return float(np.mean(difference**2) / (2 * NOISE**2))


# --- losses and degeneracies ------------------------------------------------------------------


def test_nearest_nets_and_translations() -> None:
    g = 0.1
    merged, opposite = pair("same sign", g), pair("annihilating", g)
    middle = np.array([0.5, 0.5])
    found = loss(merged, merged.slopes, middle)
    assert hardest_loss("same sign", g) == pytest.approx(found, rel=1e-4)
    # The ramp itself is in the leading order left out.
    found = loss(opposite, opposite.slopes, middle)
    assert hardest_loss("annihilating", g) == pytest.approx(found, rel=g)
    found = loss(opposite, opposite.slopes, opposite.kinks + 0.2)
    assert translation_loss(g, 0.2) == pytest.approx(found, rel=1e-4)


@pytest.mark.parametrize("at", representations(4), ids=lambda at: f"{at.kinks}-{at.name}")
def test_learning_coefficients_lie_between_rank_and_codimension(at: Representation) -> None:
    value, rank = at.learning_coefficient, 2 * at.units - nullity(at)
    assert rank <= 2 * value <= 2 * at.units - at.fibre
    # The level set is in the null space, and a merged kink alone has more of the latter.
    assert nullity(at) >= at.fibre
    assert (nullity(at) == at.fibre) == (at.way != "merged" or at.surplus == 0)


def test_level_sets_are_exact() -> None:
    """Annihilated units move together and grow; merged ones exchange their slope changes."""
    annihilated, merged = Representation(3, 0, "merged"), Representation(3, 1, "merged")
    for factor, shift in ((1.0, 0.2), (3.0, 0.0), (-0.5, 0.1)):
        net = annihilated.net()
        moved = net_output(factor * net.slopes, net.kinks + shift, INPUTS)
        assert np.abs(moved - truth_of(net, INPUTS)).max() < 1e-14
    net = merged.net()
    moved = net_output(net.slopes + np.array([0.5, -0.2, -0.3]), net.kinks, INPUTS)
    assert np.abs(moved - truth_of(net, INPUTS)).max() < 1e-14
    assert (annihilated.fibre, merged.fibre) == (3, 2)


def test_fewer_kinks_are_more_degenerate() -> None:
    for way in ("merged", "silent", "dead"):
        rows = [Representation(5, k, way) for k in range(6)]
        values, fibres = ([getattr(at, name) for at in rows] for name in
                          ("learning_coefficient", "fibre"))  # fmt: skip
        assert values == sorted(set(values))
        assert fibres == sorted(set(fibres), reverse=True)


# --- exact values -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["same sign", "annihilating"])
def test_exact_values_against_a_rule_over_all_parameters(kind: str) -> None:
    """At n = 1 Gauss rules of four dimensions will do."""
    net = pair(kind, 0.2)
    nodes, weights = hermegauss(12)
    places = panel_rule(np.linspace(net.low[0], net.high[0], 6), 5)
    s = [net.slopes[h] + PRIOR_SCALE * nodes for h in range(2)]
    grid = np.meshgrid(*s, places.nodes, places.nodes, indexing="ij")
    measure = np.einsum("i,j,k,l->ijkl", weights, weights, places.weights, places.weights)
    v = [*grid[:2], *-net.true_slopes]
    t = [*grid[2:], *net.kinks]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        rest, apart = 1 - np.maximum(a, b), np.abs(a - b)
        return np.asarray(rest**3 / 3 + apart * rest**2 / 2)

    squares = sum(v[i] * v[j] * kernel(t[i], t[j]) for i in range(4) for j in range(4))
    energy = squares / (2 * NOISE**2)
    mass = measure * np.exp(-energy)
    found = Curve(net, 10).at([1.0])
    assert found.error[0] < 1e-4
    assert found.value[0] == pytest.approx(float((mass * energy).sum() / mass.sum()), abs=2e-3)


def test_energies_are_derivatives() -> None:
    at = pairs(pair("annihilating", 0.05), 6)

    def log_evidence(n: float) -> float:
        return float(logsumexp(log_densities(at, n)[0] + at.log_weights))

    n, step = 1000.0, 1e-4
    log_value, energy = log_densities(at, n)
    mass = np.exp(log_value + at.log_weights - log_evidence(n))
    slope = -(log_evidence(n * (1 + step)) - log_evidence(n * (1 - step))) / (2 * step)
    assert mass @ energy == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize(("kind", "limit"), [("same sign", 4 / 3), ("annihilating", 1.0)])
def test_limits_without_a_gap_and_with_one(kind: str, limit: float) -> None:
    closed = Curve(pair(kind, 0.0), 10).at([1e8])
    assert closed.value[0] == pytest.approx(limit, abs=2e-3 + float(closed.error[0]))
    assert closed.error[0] < 0.02
    assert Curve(pair(kind, 0.2), 10).at([1e8]).value[0] == pytest.approx(2.0, abs=0.02)


def test_products_of_nearly_equal_breakpoints_keep_their_digits() -> None:
    apart = 1e-7
    t1, t2 = np.array([[0.5]]), np.array([[0.5 + apart]])
    gram, _, _ = population_products(t1, t2, pair("annihilating", 0.0))
    assert gram[2, 0, 0] * NOISE**2 == pytest.approx(apart**2 * (0.5 - 2 * apart / 3), rel=1e-8)


def test_a_level_that_is_not_passed_has_no_n() -> None:
    curves = [Curve(pair("same sign", gap), 4) for gap in (0.0, 0.1)]
    excess = Exact(np.array([0.0, 0.1]), np.zeros(2))
    found = crossover(*curves, [10.0, 100.0], excess, LEVELS["same sign, gap seen"])
    assert all(map(math.isnan, found))


# --- likelihoods of samplers, and posteriors --------------------------------------------------


@in_float64
def test_likelihoods_of_the_sampler() -> None:
    """They are −nK for the population, and the sum over the data for these."""
    net = Representation(3, 1, "merged").net()
    w = jnp.array([0.3, -0.2, 0.1, 0.5, -1.0, 0.2])
    nothing = Local.of(net, 7.0, SortedData.nothing(50))
    compiled = jax.jit(Local.log_likelihood)
    slopes, places = map(np.asarray, nothing.parameters(w))
    expected = -7 * loss(net, slopes, places)
    assert float(compiled(nothing, w)) == pytest.approx(expected, rel=1e-5)
    rng = np.random.default_rng(0)
    x, noise = rng.uniform(size=50), 0.1 * rng.standard_normal(50)
    y = truth_of(net, x) + noise
    given = Local.of(net, 0.0, SortedData.of(net, x, y))
    misfit = y - net_output(slopes, places, x)
    ratio = np.sum(noise**2 - misfit**2) / (2 * NOISE**2)
    assert float(compiled(given, w)) == pytest.approx(ratio, rel=1e-9)


@in_float64
def test_posteriors_of_a_breakpoint() -> None:
    """Collapsed slope changes are those of a Gauss rule over them."""
    net = pair("annihilating", 0.1)
    data = simulated(net, 5, jax.random.key(0))
    local = Local.of(net, 0.0, data)
    nodes, weights = hermegauss(40)
    compiled = jax.jit(jax.vmap(Local.log_likelihood, (None, 0)))
    for t in ((0.4, 0.62), (0.7, 0.3)):
        found, _ = log_densities(
            data_pairs(net, np.asarray(data.x), np.asarray(data.sums),
                       np.array(t)[:, None, None], np.ones((1, 1))), 1.0,
        )  # fmt: skip
        where = ndtri((np.array(t) - net.low) / (net.high - net.low))
        grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
        w = np.hstack([grid, np.broadcast_to(where, grid.shape)])
        values = np.asarray(compiled(local, jnp.asarray(w)))
        expected = logsumexp(values, b=np.outer(weights, weights).ravel() / (2 * np.pi))
        assert found[0] == pytest.approx(expected, rel=1e-6)


@in_float64
def test_shares_of_bins() -> None:
    net = pair("same sign", 0.1)
    shares = exact_shares(net, simulated(net, 200, jax.random.key(1)), 10, 6)
    assert shares.value.sum() == pytest.approx(1.0)
    assert shares.error.max() < 0.02
    positions = np.zeros((2, 3, 4))
    positions[..., 2] = ndtri(0.25)
    counted = sampled_shares(positions, net, 10)
    assert counted.tolist() == [[0.0, 0.0, 1.0, *[0.0] * 7]] * 2


def test_exponents_are_extrapolated() -> None:
    gaps = np.array([0.01, 0.02, 0.04])
    value, half_width, local = exponent(gaps, 5 * gaps**-3.0 * (1 + gaps), np.full(3, 1e-6))
    assert abs(value - 3) < half_width < abs(local[0] - 3) + 1e-3
    assert abs(value - 3) < 0.05 * abs(local[0] - 3)


# --- verdicts ---------------------------------------------------------------------------------


def made_up() -> xr.Dataset:
    """Return results under which the claim holds, of two units."""
    gaps, n = np.array([0.0, 0.01, 0.02, 0.04]), np.array([1e2, 1e4, 1e6, 1e8])
    closed = {"same sign": 4 / 3, "annihilating": 1.0}
    curves = np.array([[[limit] * 4] + [[limit, 1.9, 1.7, 2.0]] * 3 for limit in closed.values()])
    sizes = [[np.nan, *(7 * gaps[1:] ** -float(p))] for p in (3, 2, 3)]
    limit = np.array([[[1.0, 1.0, 0.0], [4 / 3, 1.5, 1.0], [2.0, 2.0, 2.0]]])
    fibre = np.array([[[2, 2, 4], [1, 1, 2], [0, 0, 0]]], float)
    sampled = limit[..., :2, None]
    share = np.tile([0.2, 0.3, 0.5], (1, 3, 1))
    grid = ("units", "kinks", "sampled_way")
    bins = ("posterior_n", "case", "bin")
    return xr.Dataset(
        {
            "gap_coefficient": (("kind", "gap", "n"), curves),
            "gap_coefficient_error": (("kind", "gap", "n"), np.full(curves.shape, 1e-4)),
            "kind_limit": ("kind", list(closed.values())),
            "nearest_loss": (("kind", "gap"), np.stack([gaps**3, gaps**2])),
            "translation_loss": ("gap", gaps**2),
            "crossing_size": (("level", "gap"), sizes),
            "crossing_size_error": (("level", "gap"), np.full((3, 4), 1e-3)),
            "level_exponent": ("level", [3, 2, 3]),
            "num_runs": 16,
            "representation_limit": (("units", "kinks", "way"), limit),
            "fibre": (("units", "kinks", "way"), fibre),
            "nullity": (("units", "kinks", "way"), fibre),
            "sampled_coefficient": ((*grid, "sampled_n"), sampled.copy()),
            "sampled_coefficient_se": ((*grid, "sampled_n"), np.full(sampled.shape, 0.01)),
            "exact_sampled_coefficient": ((*grid, "sampled_n"), sampled),
            "exact_sampled_coefficient_error": ((*grid, "sampled_n"), 1e-6 * sampled),
            "converged": (grid, np.ones((1, 3, 2), bool)),
            "reason": (grid, np.full((1, 3, 2), "", object)),
            "bin_share": (bins, share),
            "bin_share_error": (bins, 1e-6 * share),
            "sampled_bin_share": (bins, share.copy()),
            "sampled_bin_share_se": (bins, np.full(share.shape, 0.01)),
            "posterior_converged": (bins[:2], np.ones((1, 3), bool)),
            "posterior_reason": (bins[:2], np.full((1, 3), "", object)),
        },
        coords={
            "kind": list(closed), "gap": gaps, "n": n, "level": list(LEVELS), "units": [2],
            "kinks": [0, 1, 2], "way": ["merged", "silent", "dead"],
            "sampled_way": ["merged", "silent"], "sampled_n": [1e4], "posterior_n": [1000],
            "case": ["a", "b", "c"], "bin": [0.3, 0.5, 0.7],
        },
    )  # fmt: skip


def outcome(spoil: Callable[[xr.Dataset], None]) -> str:
    dataset = made_up()
    spoil(dataset)
    (finding,) = verdict(dataset).findings
    return finding.outcome


def put(name: str, value: object, **where: object) -> Callable[[xr.Dataset], None]:
    def spoil(dataset: xr.Dataset) -> None:
        dataset[name].loc[where] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda _: None, "holds exactly where the boundaries coincide"),
        (put("gap_coefficient", 1.2, kind="annihilating", gap=0.0), "fails"),
        (put("sampled_coefficient", 1.9, kinks=0, sampled_way="silent"), "fails"),
        (put("sampled_coefficient", 1.32, kinks=0, sampled_way="merged"), "is undecided"),
        (put("converged", False, kinks=1, sampled_way="merged"), "is undecided"),
        (put("gap_coefficient_error", 0.1, kind="annihilating", gap=0.0), "is undecided"),
        (put("crossing_size", np.nan, gap=0.01), "is undecided"),
        (put("level_exponent", 4, level="same sign, gap seen"), "holds where the boundaries"),
    ],
)  # fmt: skip
def test_verdicts(spoil: Callable[[xr.Dataset], None], words: str) -> None:
    assert outcome(spoil).startswith(words)


def test_samples_that_are_off_and_runs_that_failed_are_told() -> None:
    dataset = made_up()
    told = verdict(dataset)
    assert told.numbers["sampled"]["agrees"]
    assert "not converged: none" in told.statement
    put("sampled_bin_share", 0.4, bin=0.3)(dataset)
    put("converged", False, kinks=1, sampled_way="silent")(dataset)
    put("reason", "too short", kinks=1, sampled_way="silent")(dataset)
    told = verdict(dataset)
    assert not told.numbers["sampled"]["agrees"]
    assert "TOO FAR" in told.statement
    assert "2 units, 1 kinks, silent (too short)" in told.statement
    assert "! not converged" in told.table
    assert list(figure(dataset, told)) == ["relu_boundaries"]
