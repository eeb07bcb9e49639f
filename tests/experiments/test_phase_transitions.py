"""Phase transitions: closed forms against other integrals, data tables, and verdicts that fail."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.spatial import ConvexHull
from scipy.special import logsumexp

from experiments.phase_transitions import PRESETS, paths, study
from experiments.phase_transitions.crossing import (
    expansion,
    observed_log_size,
    predicted_log_size,
    sharpness,
)
from experiments.phase_transitions.designed import (
    advantage_of_data,
    expected_log,
    gaps,
    log_evidence_of_accurate,
    log_evidence_of_coarse,
    nested_means,
)
from experiments.phase_transitions.figure import figure
from experiments.phase_transitions.polygons import (
    FEATURES,
    PEAKS,
    PHASES,
    POLYGONS,
    Polygon,
    local_constant,
    loss_at,
    loss_of_moments,
    num_vertices,
    off_mass,
    phase_of,
)
from experiments.phase_transitions.verdict import verdict
from slt_jax.estimators import log_mean_over_seeds
from slt_jax.models.superposition import BEST_SHAPES, identity_divergence
from slt_jax.run.precision import in_float64
from slt_jax.samplers.smc import SMCSettings, tempered_smc

SMOKE = PRESETS["smoke"]
N = np.array([30.0, 300.0, 1e5])


# --- the designed model -----------------------------------------------------------------------


def test_evidences_of_the_population_are_integrals() -> None:
    coarse, bound = log_evidence_of_coarse(N)
    accurate = log_evidence_of_accurate(N, 3)
    for i, n in enumerate(N[:2]):
        product, _ = quad(lambda p, n=n: -math.log(p) * math.exp(-n * p**2 / 2), 0, 1)
        assert abs(coarse[i] - math.log(product)) <= bound[i] + 1e-9
        regular, _ = quad(lambda a, n=n: math.exp(-n * a**2 / 2) / 2, -1, 1)
        assert accurate[i] == pytest.approx(3 * math.log(regular), abs=1e-9)
    # and their constants are those of the expansion
    coefficient, order, constant, _ = gaps(3)
    rest = accurate - coarse + coefficient * np.log(N) + order * np.log(np.log(N)) - constant
    slow = np.log1p((np.euler_gamma + math.log(2)) / np.log(N))
    np.testing.assert_allclose(rest, -slow, atol=1e-6)


@pytest.mark.parametrize("t", [0.0, 0.7, 4.0])
def test_the_mean_logarithm_of_a_shifted_normal(t: float) -> None:
    def density(x: float) -> float:
        return math.log(abs(x)) * math.exp(-((x - t) ** 2) / 2) / math.sqrt(2 * math.pi)

    exact = quad(density, -12, 0)[0] + quad(density, 0, 16)[0]
    assert float(expected_log(np.asarray(t))) == pytest.approx(exact, abs=1e-7)


def test_evidences_of_a_data_set_are_integrals() -> None:
    n, offset = np.array([40.0]), 0.03
    t = np.array([[0.8, -0.5, 1.1]])
    value, bound = advantage_of_data(n, t, offset)
    means, shift = t[0] / math.sqrt(40), math.sqrt(2 * offset)

    def weight(mean: float, at: float) -> float:
        return math.exp(-40 * mean**2 / 2 + 40 * mean * at)

    accurate = math.prod(quad(lambda a, m=m: weight(a, m) / 2, -1, 1)[0] for m in means)
    coarse = sum(
        quad(lambda p: -math.log(abs(p)) / 2 * weight(p, means[0]), *ends)[0]
        for ends in ((-1, 0), (0, 1))
    )
    coarse *= weight(shift, means[1])
    assert abs(value[0] - math.log(accurate / coarse)) <= bound[0] + 1e-8
    assert bound[0] < 1e-4


def test_means_of_nested_data_are_standard() -> None:
    t = nested_means(np.random.default_rng(0), np.array([20.0, 80.0]), 4000, 2)
    np.testing.assert_allclose(t.std(axis=(0, 2)), 1.0, atol=0.06)
    # the first quarter of the data is in all of them
    assert np.corrcoef(t[:, 0, 0], t[:, 1, 0])[0, 1] == pytest.approx(0.5, abs=0.08)


# --- crossings --------------------------------------------------------------------------------


def test_predicted_crossings_are_roots() -> None:
    log_n = predicted_log_size(0.01, 1.5, 1.0, 0.3)
    assert float(expansion(np.asarray(log_n), 0.01, 1.5, 1.0, 0.3)) == pytest.approx(0, abs=1e-9)
    assert sharpness(log_n, 0.01, 1.5, 1.0) > 0
    assert math.isnan(predicted_log_size(0.01, 0.0, 0.0, 0.0))
    assert math.isnan(predicted_log_size(0.01, 1.0, 0.0, math.nan))


def test_observed_crossings_are_the_last_ones() -> None:
    log_n = np.array([1.0, 2.0, 3.0, 4.0])
    curves = np.array(
        [[-1, 1, -1, 3], [1, 2, 3, 4], [-1, -1, 1, -1], [-1, math.nan, 1, 1], [-2, 2, 3, 4]], float
    )
    np.testing.assert_allclose(
        observed_log_size(log_n, curves), [3.25, -np.inf, np.inf, np.nan, 1.5]
    )


# --- the toy model ----------------------------------------------------------------------------


@functools.cache
def draws() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((40, 3 * FEATURES))


@in_float64
def test_the_loss_is_that_of_the_model() -> None:
    losses = jax.vmap(lambda w: loss_of_moments(w, None))(jnp.asarray(draws()))
    for w, loss in zip(draws(), losses, strict=True):
        exact = identity_divergence(w[:12].reshape(2, 6), w[12:])
        assert float(loss) == pytest.approx(exact, rel=1e-12)


@in_float64
def test_tables_of_data_give_their_loss() -> None:
    key, sizes = jax.random.key(3), (50, 400)
    tables = paths.data_tables(key, sizes)
    key_value, key_feature = jax.random.split(key)
    values = np.asarray(jax.random.uniform(key_value, (400,)))
    features = np.asarray(jax.random.randint(key_feature, (400,), 0, FEATURES))
    positions = jnp.asarray(np.stack([draws()[:8]] * 2))
    logs = np.asarray(paths.log_weights(positions, tables, jnp.asarray(sizes, float)))
    for i, w in enumerate(draws()[:8]):
        weights, bias = w[:12].reshape(2, 6), w[12:]
        x = np.eye(FEATURES)[features] * values[:, None]
        errors = np.maximum(x @ weights.T @ weights + bias, 0) - x
        sums = np.cumsum((errors**2).sum(axis=1) / 2)
        for b, n in enumerate(sizes):
            expected = n * identity_divergence(weights, bias) - sums[n - 1]
            assert logs[b, i] == pytest.approx(expected, abs=2e-3)


def test_vertices_are_those_of_the_convex_hull() -> None:
    counts = jax.vmap(num_vertices)(jnp.asarray(draws()))
    for w, count in zip(draws(), counts, strict=True):
        assert int(count) == len(ConvexHull(w[:12].reshape(2, 6).T).vertices)


def test_polygons_are_in_their_phases() -> None:
    names = [phase.name for phase in PHASES]
    for name, polygon in PEAKS.items():
        assert names[int(phase_of(jnp.asarray(polygon.parameters)))] == name
    assert [p.learning_coefficient for p in POLYGONS] == [7.5, 8.0, 8.5, 7.0, 8.5, 8.5]
    assert [p.name for p in POLYGONS] == ["4⁻⁻", "4⁺⁻", "4⁺⁺", "5⁻", "5⁺", "6"]
    losses = [loss_at(p) for p in POLYGONS]
    assert losses == sorted(losses, reverse=True)


def test_the_mass_of_features_that_are_off() -> None:
    length, bias = BEST_SHAPES[5]
    grid = (np.arange(801) - 400) * 0.001
    v = np.stack(np.meshgrid(grid, grid), axis=-1)
    angles = 2 * np.pi * np.arange(5) / 5
    reach = (v @ (length * np.stack([np.cos(angles), np.sin(angles)]))).max(axis=-1)
    square = (v**2).sum(axis=-1)
    needed = np.maximum(reach, square)
    tail = np.vectorize(lambda x: math.erfc(x / math.sqrt(2)) / 2)
    inside = reach <= -bias
    total = np.sum(np.exp(-square[inside] / 2) / (2 * np.pi) * tail(needed[inside])) * 1e-6
    assert off_mass(length, bias, 5) == pytest.approx(total, rel=2e-3)


def test_the_local_constant_has_the_curvature_of_the_loss() -> None:
    """The hexagon's by differences of the loss itself, in all directions."""
    w, h = Polygon(6, 0).parameters, 1e-4

    def loss(at: np.ndarray) -> float:
        return float(identity_divergence(at[:12].reshape(2, 6), at[12:]))

    eye = h * np.eye(18)
    hessian = np.array(
        [
            [
                (loss(w + a + b) - loss(w + a - b) - loss(w - a + b) + loss(w - a - b)) / (4 * h**2)
                for b in eye
            ]
            for a in eye
        ]
    )
    across = np.linalg.eigvalsh(hessian)[1:]
    circles = 120 * 2 * math.pi * np.linalg.norm(w[:12])
    prior = -(w @ w) / 2 - 9 * math.log(2 * math.pi)
    expected = math.log(circles) + prior + np.log(2 * math.pi / across).sum() / 2
    assert local_constant(Polygon(6, 0)) == pytest.approx(expected, abs=1e-3)
    assert math.isnan(local_constant(Polygon(4, 0)))


# --- verdict and figure -----------------------------------------------------------------------

MADE_UP = dataclasses.replace(
    SMOKE,
    offsets=(0.001, 0.01),
    path_sizes=tuple(round(25 * 2 ** (k / 2)) for k in range(18)),
    fit_size=100,
    runs=4,
    designed_data_sets=2000,
    exact_sizes=tuple(round(20 * 10 ** (k / 10)) for k in range(36)),
)


@functools.cache
def exact_results() -> dict[str, xr.Dataset]:
    return {task.name: task.compute() for task in study.tasks(MADE_UP) if task.group == "exact"}


def made_up(constants: dict[str, float], noise: float = 0.02) -> xr.Dataset:
    """Return the dataset of paths whose evidences are expansions with constants by phase."""
    rng = np.random.default_rng(0)
    results = dict(exact_results())
    results["regions"] = xr.Dataset(
        {
            "log_prior_mass": ("vertices", np.log([0.07, 0.45, 0.41, 0.07])),
            "log_prior_mass_se": ("vertices", [1e-3] * 4),
        },
        coords={"vertices": [3.0, 4.0, 5.0, 6.0]},
    )
    log_mass = dict(zip((3, 4, 5, 6), results["regions"]["log_prior_mass"].values, strict=True))
    n, names = np.array(MADE_UP.path_sizes, float), [phase.name for phase in PHASES]
    for route, region in study.REGIONS.items():
        evidence = np.full((MADE_UP.runs, len(n), len(names)), np.nan)
        for i, phase in enumerate(PHASES):
            if region not in (0, phase.vertices):
                continue
            peak = PEAKS.get(phase.name)
            loss, coefficient = (0.06, 8.0) if peak is None else (
                loss_at(peak), peak.learning_coefficient
            )  # fmt: skip
            value = constants.get(phase.name, 0.0) - n * loss - coefficient * np.log(n)
            runs = rng.normal(0, noise, (MADE_UP.runs, len(n)))
            evidence[..., i] = value + runs - log_mass.get(region, 0.0)
        shape = (MADE_UP.data_sets, len(n), len(names))
        ones = np.where([region in (0, phase.vertices) for phase in PHASES], 1.0, np.nan)
        results[f"path.{route}"] = xr.Dataset(
            {
                "path_log_evidence": (("run", "n", "phase"), evidence),
                "data_gain": (
                    ("data_set", "n", "phase", "run"), np.zeros((*shape, MADE_UP.runs)),
                ),
                "weights_ess": (("data_set", "n", "phase"), np.full(shape, 100.0)),
                "least_ess": 0.4, "acceptance": 0.6, "num_temperatures": 30.0,
                "phase_energy": ("phase", 100.0 * ones),
                "phase_energy_se": ("phase", 0.1 * ones),
                "seeded_energy": ("phase", 100.1 * ones),
                "seeded_energy_se": ("phase", 0.1 * ones),
            },
            coords={
                "run": range(MADE_UP.runs), "n": list(MADE_UP.path_sizes),
                "data_set": range(MADE_UP.data_sets), "phase": names,
            },
        )  # fmt: skip
    return study.assemble(MADE_UP, results)


@functools.cache
def local_constants() -> dict[str, float]:
    rows = exact_results()["polygons"]["polygon_constant"].to_series()
    return {name: value for name, value in rows.items() if np.isfinite(value)}


def outcome(data: xr.Dataset) -> str:
    (finding,) = verdict(data).findings
    assert finding.claim == "E15"
    assert sum(finding.why.count(end) for end in (". ", "! ", "? ")) <= 2
    assert "phases in n alone" in finding.why
    return finding.outcome


def test_the_claim_holds_where_constants_are_equal() -> None:
    judged = verdict(made_up({}))
    assert judged.findings[0].outcome == "holds"
    rows = judged.numbers["transitions"]["rows"]
    assert rows["5⁻ → 6"]["observed"] == pytest.approx(1010, rel=0.02)
    assert rows["5⁺ → 6"]["leads_from_the_first"]
    assert judged.numbers["routes"]["agrees"]
    assert "phases missed: none" in judged.statement
    assert set(figure(made_up({}), judged)) == {"phase_transitions"}


def test_the_claim_holds_only_with_constants() -> None:
    data = made_up(local_constants())
    assert outcome(data) == "holds only if the constants beside λ log n are known too"
    shifted = {name: c + (name == "5⁻") for name, c in local_constants().items()}
    assert outcome(made_up(shifted)).endswith("the expansion in n has converged")


def test_the_claim_fails_where_no_prediction_is_right() -> None:
    shift = {"5⁻": 1.0, "5⁺": 0.0, "6": -1.5}
    shifted = {name: c + shift[name] for name, c in local_constants().items()}
    data = made_up(shifted)
    data["designed_prediction"] += 2.0
    assert outcome(data) == "fails"


def test_the_claim_is_undecided_where_runs_scatter() -> None:
    assert outcome(made_up(local_constants(), noise=4.0)) == "is undecided"


def test_routes_that_disagree_and_missed_phases_are_told() -> None:
    data = made_up({})
    data["log_evidence"].loc[{"route": "6", "phase": "6"}] += 1.0
    data["phase_energy"].loc[{"route": "5"}] += 9.0
    said = verdict(data).statement
    assert "which is TOO FAR" in said
    assert "phases missed: 5⁻, 5⁺" in said


def test_an_n_of_the_fit_that_no_path_visits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^fit_size = 60: must be one of path_sizes but the last"):
        dataclasses.replace(SMOKE, fit_size=60)


# --- paths ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=3, standard_errors=10, degrees_of_freedom=15)
def test_paths_within_regions_give_the_evidence_of_the_plain_one() -> None:
    config = dataclasses.replace(
        SMOKE, runs=16, chains=64, chain_length=16, integration_steps=3, max_moves=8
    )
    results = {task.name: task.compute() for task in study.tasks(config)}
    data = study.assemble(config, results)
    at = data.sel(n=25)
    for phase in PEAKS:
        pair = at.sel(phase=phase)
        own, plain = pair.sel(route=phase[0]), pair.sel(route="plain")
        error = math.hypot(float(own["log_evidence_se"]), float(plain["log_evidence_se"]))
        assert error < 0.5
        assert abs(float(own["log_evidence"] - plain["log_evidence"])) < 10 * error


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, standard_errors=10, degrees_of_freedom=15)
def test_weighing_gives_the_evidence_of_a_data_set() -> None:
    """Against a path whose likelihood is that of the data themselves."""
    settings = SMCSettings(num_chains=32, chain_length=16, num_integration_steps=3)
    keys, sizes = jax.random.split(jax.random.key(4), 16), (50, 100)
    everywhere = jnp.asarray(paths.EVERYWHERE)
    seeds = jnp.asarray(PEAKS["6"].parameters[None], float)
    path = paths.path_within(settings, everywhere, seeds, keys, jnp.asarray(sizes, float))
    with jax.enable_x64(True):
        tables = paths.data_tables(jax.random.key(5), sizes)
        places = np.asarray(path.positions, float).swapaxes(0, 1).reshape(2, -1, 18)
        logs = paths.log_weights(jnp.asarray(places), tables, jnp.asarray(sizes, float))
    logs = np.asarray(logs)[1].reshape(16, -1)
    weighed = np.asarray(path.log_evidence, float)[:, 1] + logsumexp(logs, axis=1)
    weighed = log_mean_over_seeds(weighed - math.log(logs.shape[1]))

    moments = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf[1]), float), tables)
    target = paths.target_within(everywhere)._replace(
        log_likelihood=lambda w, moments: -loss_of_moments(w, moments)
    )
    nodes, step = jnp.ones(1), jnp.asarray(0.3)
    run = jax.jit(lambda keys, *more: tempered_smc(target, settings, keys, *more))
    evidences = run(keys, moments, nodes, step).log_evidence
    direct = log_mean_over_seeds(np.asarray(evidences, float))
    error = math.hypot(float(weighed.standard_error), float(direct.standard_error))
    assert error < 0.3
    assert abs(float(weighed.value - direct.value)) < 10 * error
