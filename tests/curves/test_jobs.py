"""Jobs, keys and targets; the compiled sampler itself is tested in samplers/test_smc.py."""

import dataclasses
import functools
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from slt_jax.curves import jobs
from slt_jax.curves.jobs import (
    batch_keys,
    exact_jobs,
    in_precision,
    problem_key,
    sampled_jobs,
    target_of,
    temperature_nodes,
)
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.samplers.mode import posterior_mode
from slt_jax.samplers.smc import SMCResult, SMCSettings
from slt_jax.statistics import RegressionStatistics, Statistics

PROBLEMS = named_problems()
LINEAR = PROBLEMS["linear_3"]
R = 7


@functools.cache
def linear_data(n: int) -> RegressionStatistics:
    """R data sets of linear_3, always as many, so that one program makes them all."""
    statistics = statistics_along_n(LINEAR, jax.random.key(0), R, [n])[0]
    assert isinstance(statistics, RegressionStatistics)
    return statistics


# --- keys -----------------------------------------------------------------------------------


def bits(keys: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(keys))


def test_a_job_has_its_key_whatever_the_batch() -> None:
    key = jax.random.key(3)
    many = bits(batch_keys(key, 100, 8, 8))
    assert many.shape[:2] == (8, 8)
    np.testing.assert_array_equal(bits(batch_keys(key, 100, 3, 2)), many[:3, :2])
    np.testing.assert_array_equal(bits(batch_keys(key, 100, 8, 2)), many[:, :2])


def test_all_jobs_have_different_keys() -> None:
    grids = [
        bits(batch_keys(jax.random.key(seed), n, 8, 8)).reshape(64, -1)
        for seed in (0, 1)
        for n in (8, 10, 100)
    ]
    keys = np.concatenate(grids)
    assert len(np.unique(keys, axis=0)) == len(keys) == 6 * 64


def test_problems_have_their_own_keys() -> None:
    keys = [bits(problem_key(seed, p)) for seed in (0, 1) for p in PROBLEMS.values()]
    assert len(np.unique(keys, axis=0)) == 2 * len(PROBLEMS)
    # The name alone decides: not the object, nor which others are found.
    twin = Problem("linear_3", PROBLEMS["tanh_1"].model, {})
    np.testing.assert_array_equal(bits(problem_key(0, twin)), bits(problem_key(0, LINEAR)))


# --- temperatures ---------------------------------------------------------------------------


def test_temperature_nodes() -> None:
    np.testing.assert_allclose(temperature_nodes(100), [1 / np.log(100), 2 / np.log(100), 1])
    assert temperature_nodes(3) == (1 / np.log(3), 1.0, 1.0)
    for n in (3, 5, 8, 10, 10**12):
        assert np.all(np.diff(temperature_nodes(n)) >= 0)
        assert 0 < temperature_nodes(n).wbic < 1


@pytest.mark.parametrize("n", [2, 1, 0, -7])
def test_temperature_nodes_of_too_few_data(n: int) -> None:
    with pytest.raises(ValueError, match=rf"n = {n}:.* n must be ≥ 3"):
        temperature_nodes(n)


# --- targets --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["skalse_x2", "reduced_rank_2_2_2_1"])
def test_a_target_is_the_model_of_a_flat_vector(name: str) -> None:
    """Parameters in the order of their names; float32 sums of up to 30 terms: 1e-4 relative."""
    model = PROBLEMS[name].model
    target = target_of(model)

    @jax.jit
    def both(key: jax.Array) -> Any:
        params, w = model.sample_prior(key), target.sample_prior(key)
        p, q = model.coefficients(params).shape
        draw = jax.random.normal(key, (p, p + 2 * q + 1))
        statistics = RegressionStatistics(draw[:, :p], draw[:, p : p + q], draw[:, p + q : -1], 0.0)
        return (
            (w, target.log_prior(w), target.log_likelihood(w, statistics)),
            (params, model.log_prior(params), model.log_likelihood_ratio(params, statistics)),
        )

    (w, *found), (params, *expected) = both(jax.random.key(1))
    assert w.shape == (model.dimension,)
    flat = [np.asarray(params[name]).ravel() for name in sorted(params)]
    np.testing.assert_array_equal(w, np.concatenate(flat))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_equal_models_are_one_target() -> None:
    twin = dataclasses.replace(LINEAR.model)
    assert twin is not LINEAR.model
    assert target_of(twin) is target_of(LINEAR.model)
    other = dataclasses.replace(LINEAR.model, noise=2.0)
    assert target_of(other) is not target_of(LINEAR.model)


def test_the_optimum_has_no_excess_energy() -> None:
    one = jax.tree.map(lambda leaf: leaf[0], in_precision(linear_data(20), np.float32))
    w = jnp.float32(LINEAR.optimum["w"])
    assert target_of(LINEAR.model).log_likelihood(w, one) == 0


def test_in_precision() -> None:
    statistics = linear_data(20)
    assert all(leaf.dtype == np.float64 for leaf in statistics)
    singles = jax.tree.map(np.float32, statistics)
    chex.assert_trees_all_equal(in_precision(statistics, jnp.float32), singles, strict=True)


# --- modes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 1000])
def test_mode_of_a_conjugate_posterior(n: int) -> None:
    """The posterior mean (I + G)⁻¹(Gw₀ + U), from a distance of some standard deviations.

    Adam's last steps are far shorter than a posterior standard deviation: within 1 % of it.
    """
    statistics = linear_data(n)
    gram, cross, origin = (np.asarray(leaf)[0] for leaf in statistics[:3])
    covariance = np.linalg.inv(np.eye(3) + gram)
    mean = (covariance @ (gram @ origin + cross))[:, 0]
    sd = np.sqrt(np.diag(covariance))
    one = jax.tree.map(lambda leaf: leaf[0], in_precision(statistics, np.float32))
    target = target_of(LINEAR.model)
    find = jax.jit(posterior_mode, static_argnums=0)
    for start in (mean + 3 * sd, mean - 3 * sd, mean):
        mode = np.asarray(find(target, one, jnp.float32(start)), float)
        np.testing.assert_array_less(np.abs(mode - mean), 0.01 * sd + 1e-6)


# --- exact curves ---------------------------------------------------------------------------


def test_exact_curve() -> None:
    """Against closed forms of conjugate regression; 1e-9 of terms of size n."""
    sizes = [10, 100]
    all_statistics = [linear_data(n) for n in sizes]
    oracle = oracle_for(LINEAR)
    assert oracle is not None
    columns = [
        exact_jobs(oracle, n, statistics, with_energies=True)
        for n, statistics in zip(sizes, all_statistics, strict=True)
    ]
    curve = xr.concat(columns, dim=xr.Variable("n", sizes))
    lambdas = ("lambda_wbic", "lambda_energy_variance", "lambda_two_temperatures")
    names = ("normalised_free_energy", "excess_energy", "normalised_wbic", *lambdas)
    assert set(curve.data_vars) == {*names, *(f"{name}_error" for name in names)}
    np.testing.assert_array_equal(curve["n"], sizes)
    for variable in curve.data_vars.values():
        assert variable.dims == ("n", "replicate")
        assert variable.shape == (2, R)
        assert variable.dtype == np.float64
    for name in names:
        assert ((curve[f"{name}_error"] >= 0) & (curve[f"{name}_error"] < 1e-9)).all()
    for n, statistics in zip(sizes, all_statistics, strict=True):
        for replicate in range(R):
            beta = 1 / np.log(n)
            posterior, at_wbic, at_second = (
                conjugate_moments(statistics, replicate, b) for b in (1.0, beta, min(2 * beta, 1))
            )
            difference = at_wbic[1] - at_second[1]
            expected = {
                "normalised_free_energy": posterior[0],
                "excess_energy": posterior[1],
                "normalised_wbic": at_wbic[1],
                "lambda_wbic": beta * at_wbic[1],
                "lambda_energy_variance": beta**2 * at_wbic[2],
                "lambda_two_temperatures": difference / (1 / beta - 1 / min(2 * beta, 1)),
            }
            at = curve.sel(n=n).isel(replicate=replicate)
            for name, value in expected.items():
                assert float(at[name]) == pytest.approx(value, abs=1e-9), name


def conjugate_moments(
    statistics: Statistics, replicate: int, beta: float
) -> tuple[float, float, float]:
    """F(β), E_β[nL_n] and Var_β[nL_n] relative to w₀ of linear_3, w ~ N(0, I)."""
    gram, cross, origin = (np.asarray(leaf)[replicate] for leaf in statistics[:3])
    precision, h = np.eye(3) + beta * gram, beta * (gram @ origin + cross)
    covariance = np.linalg.inv(precision)
    delta = covariance @ h - origin
    product, slope = gram @ covariance, gram @ delta - cross
    free_energy = np.linalg.slogdet(precision)[1] / 2 - (h.T @ covariance @ h).item() / 2
    free_energy += beta * (origin.T @ (gram @ origin / 2 + cross)).item()
    energy = np.trace(product) / 2 + (delta.T @ (gram @ delta / 2 - cross)).item()
    variance = np.trace(product @ product) / 2 + (slope.T @ covariance @ slope).item()
    return free_energy, energy, variance


# --- sampled curves, from runs made by hand --------------------------------------------------

GOOD, UNFINISHED, SLOW, APART, LOST, GAPPED, DEAD = range(7)
S, T, K, C = 4, 6, 16, 8


def runs_by_hand() -> SMCResult:
    """A job that converged and others that did not, each for its own reason."""
    rng = np.random.default_rng(0)
    shape = (R, S, T)
    beta = np.full(shape, np.nan)
    beta[..., :4] = [0.01, 0.2, 0.4, 1.0]
    energies = 1 + rng.normal(size=(R, S, 3, K, C))
    acceptance = np.where(np.isnan(beta), np.nan, 0.6)
    log_evidence = rng.normal(size=(R, S))
    log_evidence[GAPPED] = -20 + 0.1 * log_evidence[GAPPED]
    log_evidence[UNFINISHED] = np.nan
    beta[UNFINISHED] = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    acceptance[UNFINISHED] = 0.6
    acceptance[SLOW, 1, 2] = 0.1
    energies[APART] += 3 * np.arange(S)[:, None, None, None]
    # Where data hold NaN, a run stays with the prior.
    log_evidence[LOST], energies[LOST] = np.nan, np.nan
    beta[LOST], acceptance[LOST] = np.nan, np.nan
    # One run of several that meets a log-likelihood of ∞ on its way.
    log_evidence[DEAD, 2], energies[DEAD, 2, 1:] = np.nan, np.nan
    beta[DEAD, 2, 2:] = acceptance[DEAD, 2, 2:] = np.nan
    path = np.where(np.isnan(beta), np.nan, 1.0)
    num_nan = np.where(np.arange(R)[:, None] == LOST, [0, 3, 128, 7], 0)
    return SMCResult(
        log_evidence=log_evidence,
        num_temperatures=np.isfinite(beta).sum(axis=-1),
        beta=beta,
        mean_energy=path,
        energy_variance=path,
        acceptance=acceptance,
        ess=path,
        step_size=path,
        num_moves=path,
        first_log_weight=np.where(np.arange(R)[:, None] == LOST, np.nan, -0.1 * np.ones((R, S))),
        log_weight=path,
        node_energies=energies,
        node_positions=np.zeros((*energies.shape, 3)),
        best_position=np.zeros((R, S, 3)),
        best_energy=np.zeros((R, S)),
        num_nan=num_nan,
    )


def curve_of(
    runs: SMCResult,
    monkeypatch: pytest.MonkeyPatch,
    step_size: float = 0.4,
    log_likelihood_at_optimum: float = -1.0,
) -> Any:
    def pretend(*_: object, **__: object) -> tuple[SMCResult, np.ndarray]:
        return runs, np.arange(float(len(runs.beta)))

    monkeypatch.setattr(jobs, "smc_jobs", pretend)
    statistics = jax.tree.map(lambda leaf: leaf[: len(runs.beta)], linear_data(100))
    statistics = statistics._replace(
        log_likelihood_at_optimum=np.full(len(runs.beta), log_likelihood_at_optimum)
    )
    keys = batch_keys(jax.random.key(0), 100, len(runs.beta), S)
    return sampled_jobs(LINEAR, 100, statistics, keys, SMCSettings(), step_size)


def test_each_failure_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = curve_of(runs_by_hand(), monkeypatch)
    np.testing.assert_array_equal(curve["converged"], np.arange(R) == GOOD)
    reasons = curve["reason"].to_numpy()
    assert reasons[GOOD] == ""
    assert reasons[UNFINISHED] == (
        "max_temperatures = 6 used up at beta = 0.06 < 1: set it to 34 or more"
    )
    assert reasons[LOST].startswith(
        "log-likelihood NaN at up to 128 of 128 draws of the prior: it must be a number"
    )
    assert reasons[DEAD].startswith(
        "1 of 4 runs lost: no finite log-likelihood after 2 temperatures; set num_chains"
    )
    assert reasons[SLOW] == "acceptance 0.10 < 0.15"
    assert reasons[APART].startswith("seeds disagree: nested R-hat")
    assert re.fullmatch(
        r"F = (19|20).\d\d by evidence and 1.\d\d by integration differ by more than .* nats",
        reasons[GAPPED],
    )
    for name in ("normalised_free_energy", "normalised_free_energy_ti"):
        lost = np.isin(range(R), [UNFINISHED, LOST, DEAD])
        np.testing.assert_array_equal(curve[name].isnull(), lost)


@pytest.mark.parametrize(("value", "word"), [(-np.inf, "-inf"), (np.nan, "NaN")])
def test_a_reference_that_cannot_be_one_is_named(
    monkeypatch: pytest.MonkeyPatch, value: float, word: str
) -> None:
    """Of runs that were lost; whatever else they show comes from it."""
    reasons = curve_of(runs_by_hand(), monkeypatch, log_likelihood_at_optimum=value)[
        "reason"
    ].to_numpy()
    lost = reasons[[UNFINISHED, LOST, DEAD]]
    words = f"log-likelihood {word} at the reference point w0: set the problem's optimum to "
    assert all(reason.startswith(words) for reason in lost)
    assert reasons[GOOD] == ""


def test_energies_that_never_change_agree_and_stuck_chains_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A likelihood that does not depend on w: 0/0 between the seeds is no disagreement."""
    runs = runs_by_hand()
    runs.node_energies[GOOD] = 0.1
    runs.node_energies[SLOW] = 0.1
    runs.node_energies[APART] = 0.1 * np.arange(S)[:, None, None, None]
    curve = curve_of(runs, monkeypatch)
    reasons = curve["reason"].to_numpy()
    assert reasons[GOOD] == ""
    assert curve["nested_r_hat"][GOOD] == 1
    assert reasons[SLOW] == "acceptance 0.10 < 0.15"
    assert reasons[APART].startswith("seeds disagree: nested R-hat inf")


def test_estimates_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimators get the nodes they are meant for, and the errors between seeds."""
    runs = jax.tree.map(lambda leaf: leaf[:UNFINISHED], runs_by_hand())
    curve = curve_of(runs, monkeypatch).isel(replicate=GOOD)
    energies = runs.node_energies[GOOD].mean(axis=(-1, -2))
    about_all_seeds = runs.node_energies[GOOD] - energies.mean(axis=0)[:, None, None]
    variances = np.mean(about_all_seeds**2, axis=(-1, -2))
    log_n = np.log(100)
    expected = {
        "normalised_wbic": energies[:, 0],
        "excess_energy": energies[:, 2],
        "lambda_wbic": energies[:, 0] / log_n,
        "lambda_two_temperatures": (energies[:, 0] - energies[:, 1]) / (log_n / 2),
        "lambda_energy_variance": variances[:, 0] / log_n**2,
    }
    for name, by_seed in expected.items():
        assert float(curve[name]) == pytest.approx(by_seed.mean(), rel=1e-6)
        error = by_seed.std(ddof=1) / np.sqrt(S)
        assert float(curve[f"{name}_se"]) == pytest.approx(error, rel=1e-6)
    evidence = np.exp(runs.log_evidence[GOOD])
    assert float(curve["normalised_free_energy"]) == pytest.approx(-np.log(evidence.mean()))
    assert float(curve["normalised_bic"]) == pytest.approx(0 + 1.5 * log_n)
    assert float(curve["acceptance"]) == pytest.approx(0.6)
    assert float(curve["num_temperatures"]) == 4


def test_a_step_size_that_moves_nothing_at_first_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tuning may find a better one later, but the first population was never moved."""
    runs = runs_by_hand()
    runs.acceptance[..., 0] = 0.0
    with pytest.raises(ValueError, match=r"step size 1234 .* linear_3 at n = 100"):
        curve_of(runs, monkeypatch, step_size=1234)
