"""Posteriors by one call: the same names on both, the exact ones against the oracle's functions,
and sampled ones against exact ones within standard errors."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import slt_jax as slt
from slt_jax.curves.sampled_curve import CHAIN_SAMPLERS
from slt_jax.inference.exact import ExactPosterior
from slt_jax.inference.posterior import UNITS
from slt_jax.inference.sampled import SampledPosterior
from slt_jax.oracles.criteria import simulated_points
from slt_jax.report.export import draws_tree
from slt_jax.run.compilation import CompilationCounter

PROBLEMS = slt.named_problems()
LINEAR = PROBLEMS["linear_3"]
N = 50
SEEDS = 16
K = 9.5
SMC = slt.SMCSettings(num_chains=32, chain_length=8)
NUTS = slt.NUTSSettings(num_warmup=100, num_draws=40)
OTHERS = {name: settings for name, settings in CHAIN_SAMPLERS.items() if name != "nuts"}
# Standard errors below these are asked for before values are compared.
PRECISE = {
    "free_energy": 0.1,
    "normalised_free_energy": 0.1,
    "wbic": 0.2,
    "learning_coefficient": 0.05,
    "bayes_training_loss": 0.002,
    "gibbs_training_loss": 0.002,
    "functional_variance": 0.3,
    "waic": 0.01,
    "leave_one_out_loss": 0.01,
    "bayes_generalisation_loss": 0.01,
    "gibbs_generalisation_loss": 0.02,
}


@functools.cache
def data_of(name: str, n: int = N) -> slt.Data:
    return slt.simulate(PROBLEMS[name], jax.random.key(5), n)


@functools.cache
def exact_of(name: str) -> ExactPosterior:
    return slt.exact(PROBLEMS[name], data_of(name))


@functools.cache
def sampled_of(name: str, sampler: Any, seeds: int = SEEDS) -> SampledPosterior:
    key = jax.random.key(6)
    data = data_of(name)
    return slt.sample(PROBLEMS[name], data, key=key, sampler=sampler, seeds=seeds, num_chains=32)


def assert_agreement(
    sampled: SampledPosterior, exact: ExactPosterior, allowance: float = 1.0
) -> None:
    """Errors may be larger than those of ``PRECISE`` by the allowance."""
    for name in UNITS:
        estimate, answer = getattr(sampled, name), getattr(exact, name)
        assert isinstance(estimate, slt.Estimate)
        assert isinstance(answer, slt.Exact)
        assert 0 < estimate.standard_error < allowance * PRECISE[name], name
        error = K * float(estimate.standard_error) + float(answer.error)
        assert abs(float(estimate.value) - float(answer.value)) < error, name


# --- sampled against exact ------------------------------------------------------------------


@pytest.mark.false_alarm(comparisons=11, standard_errors=K, degrees_of_freedom=SEEDS - 1)
@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        pytest.param("linear_3", SMC, id="linear_3-smc"),
        pytest.param("monomial_1_1", NUTS, id="monomial_1_1-nuts", marks=pytest.mark.slow),
        pytest.param("linear_3", NUTS, id="linear_3-nuts", marks=pytest.mark.slow),
        pytest.param("monomial_1_1", SMC, id="monomial_1_1-smc", marks=pytest.mark.slow),
    ],
)
def test_samples_agree_with_the_exact_answer(name: str, sampler: Any) -> None:
    assert_agreement(sampled_of(name, sampler), exact_of(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear_3", "monomial_1_1", "tanh_1"])
@pytest.mark.parametrize("sampler", OTHERS.values(), ids=OTHERS)
def test_every_sampler_agrees_with_the_exact_answer(name: str, sampler: Any) -> None:
    sampled = sampled_of(name, sampler)
    is_biased = isinstance(sampler, slt.SGLDSettings)
    assert_agreement(sampled, exact_of(name), allowance=4.0 if is_biased else 1.0)
    for quantity in UNITS:
        bias = getattr(sampled, quantity).sources.discretisation
        assert (bias is not None and bias > 0) == is_biased, quantity


@pytest.mark.false_alarm(comparisons=2, standard_errors=K, degrees_of_freedom=SEEDS - 1)
def test_beta_multiplies_the_likelihood_but_not_in_wbic() -> None:
    """At β = 2 nothing but WBIC is the same as at 1; neither needs another program."""
    data, key = data_of("linear_3"), jax.random.key(7)
    sampled_of("linear_3", SMC)
    with CompilationCounter() as compiled:
        warm = slt.sample(LINEAR, data, 2.0, key=key, sampler=SMC, seeds=SEEDS)
        values = {name: getattr(warm, name) for name in ("free_energy", "wbic")}
    assert compiled.counts["smc_batch"] == 0
    exact = slt.exact(LINEAR, data, 2.0)
    assert float(exact.wbic.value) == float(exact_of("linear_3").wbic.value)
    assert abs(float(exact.free_energy.value - exact_of("linear_3").free_energy.value)) > 10
    for name, estimate in values.items():
        assert abs(estimate.value - getattr(exact, name).value) < K * estimate.standard_error


def test_what_smc_rests_on_has_converged() -> None:
    sampled = sampled_of("linear_3", SMC)
    assert sampled.converged
    assert sampled.reason == ""
    assert sampled.waic.sources.between_chains == sampled.waic.standard_error
    assert sampled.learning_coefficient.basis.beta == pytest.approx(1 / np.log(N))
    assert sampled.normalised_free_energy.basis.reference == "w0"


def test_few_chains_do_not_pass_in_silence() -> None:
    settings = slt.MALASettings(num_warmup=20, num_draws=10, thinning=1)
    data = data_of("linear_3")
    few = slt.sample(LINEAR, data, key=jax.random.key(0), sampler=settings, seeds=2, num_chains=4)
    assert not few.converged
    assert "losses" not in few.reason  # which nobody has asked for
    assert "not converged: " in few.summary()
    assert "losses rest on 8 chains, fewer than 400" in few.reason
    assert "free energy: R-hat" in few.reason  # which the summary has asked for
    assert "WBIC: R-hat" in few.reason


def test_draws_are_labelled_parameters() -> None:
    draws = sampled_of("linear_3", SMC).draws
    assert draws["w"].shape == (SEEDS, SMC.num_particles, 3)
    assert draws_tree(dict(draws))["posterior"]["w"].sizes["chain"] == SEEDS


# --- exact ----------------------------------------------------------------------------------


def test_exact_quantities_are_those_of_the_oracle() -> None:
    posterior, data = exact_of("linear_3"), data_of("linear_3")
    oracle = slt.oracle_for(LINEAR)
    assert oracle is not None
    trained = slt.training_criteria(oracle, data)
    errors = slt.generalisation_errors(oracle, data, slt.quadrature_points(LINEAR))
    same = {
        "free_energy": trained.free_energy,
        "normalised_free_energy": trained.normalised_free_energy,
        "wbic": slt.wbic(oracle, data),
        "bayes_training_loss": trained.bayes_training_loss,
        "gibbs_training_loss": trained.gibbs_training_loss,
        "functional_variance": trained.functional_variance,
        "waic": trained.waic,
        "leave_one_out_loss": trained.loo,
        "bayes_generalisation_loss": errors.bayes_generalisation_loss,
        "gibbs_generalisation_loss": errors.gibbs_generalisation_loss,
    }
    for name, expected in same.items():
        own = getattr(posterior, name)
        assert abs(own.value - expected.value) <= own.error + expected.error + 1e-9, name
    excess = posterior.wbic.value - posterior.energy_at_optimum
    assert float(posterior.learning_coefficient.value) == pytest.approx(excess / np.log(N))
    assert posterior.converged


def test_held_out_data_are_averaged_over() -> None:
    """An exact average has no error of the sample; that of an estimate is the sample's own."""
    held_out = slt.simulate(LINEAR, jax.random.key(9), 30)
    data = data_of("linear_3")
    exact = slt.exact(LINEAR, data, held_out=held_out)
    average = float(exact.bayes_generalisation_loss.value)
    # The predictive density is normal, with the parameters of a ridge regression.
    x, y = np.asarray(data.x), np.asarray(data.y)[:, 0]
    covariance = np.linalg.inv(np.eye(3) + x.T @ x)
    mean = np.asarray(held_out.x) @ covariance @ x.T @ y
    variance = 1 + np.einsum("ni,ij,nj->n", held_out.x, covariance, held_out.x)
    misfit = np.asarray(held_out.y)[:, 0] - mean
    losses = 0.5 * (np.log(2 * np.pi * variance) + misfit**2 / variance)
    assert average == pytest.approx(losses.mean(), abs=1e-6)
    points = simulated_points(LINEAR, jax.random.key(9), 30)
    same = slt.exact(LINEAR, data, held_out=points)
    assert float(same.bayes_generalisation_loss.value) == pytest.approx(average)
    sampled = slt.sample(
        LINEAR, data, key=jax.random.key(6), sampler=SMC, seeds=SEEDS, held_out=held_out
    )
    sources = sampled.bayes_generalisation_loss.sources
    assert float(sources.held_out_data) == pytest.approx(losses.std(ddof=1) / 30**0.5, rel=0.05)


def test_an_exact_loss_of_a_truth_without_a_quadrature_asks_for_data() -> None:
    """Estimates simulate them (``test_held_out.py``): the error of a sample is no bound."""
    problem = PROBLEMS["mixture_2"]
    posterior = slt.exact(problem, slt.simulate(problem, jax.random.key(0), 10))
    for name in ("bayes_generalisation_loss", "gibbs_generalisation_loss"):
        with pytest.raises(ValueError, match="simulate held-out data instead"):
            getattr(posterior, name)


def test_lists_are_data() -> None:
    data = data_of("linear_3")
    lists: Any = slt.Data(np.asarray(data.x).tolist(), np.asarray(data.y).tolist())
    own = slt.exact(LINEAR, lists)
    assert float(own.waic.value) == float(exact_of("linear_3").waic.value)


def test_a_summary_has_a_line_for_each_quantity() -> None:
    lines = exact_of("linear_3").summary().splitlines()
    assert lines[0] == f"linear_3: n = {N}, beta = 1, exact"
    assert [line.split()[0] for line in lines[2:-2]] == list(UNITS)
    assert lines[-2].endswith("is relative to: the optimum of the problem")
    assert lines[-1] == "converged"
    assert repr(exact_of("linear_3")) == f"ExactPosterior(linear_3, n={N}, beta=1)"
    assert len({len(line.split("nats")[0]) for line in lines[1:-1] if "nats" in line}) == 1


# --- refusals -------------------------------------------------------------------------------


def test_wbic_of_two_data_is_refused() -> None:
    posterior = slt.exact(LINEAR, data_of("linear_3", 2))
    for name in ("wbic", "learning_coefficient"):
        with pytest.raises(ValueError, match="n = 2: .* n must be ≥ 3"):
            getattr(posterior, name)
        assert f"no {name}: n = 2" in posterior.summary()
    assert np.isfinite(posterior.waic.value)


def test_a_problem_without_an_oracle_is_refused() -> None:
    problem = PROBLEMS["mixture_3"]
    data = slt.simulate(problem, jax.random.key(0), 5)
    with pytest.raises(ValueError, match="mixture_3: has no exact answer; sample it instead"):
        slt.exact(problem, data)


def moved(**changes: Any) -> slt.Data:
    """Five data of linear_3 with other x or y."""
    return slt.Data(**({"x": np.zeros((5, 3)), "y": np.zeros((5, 1))} | changes))


SHARED: list[tuple[dict[str, Any], str]] = [
    ({"problem": "linear_3"}, "problem = 'linear_3': must be a Problem"),
    ({"problem": moved()}, "problem = a Data: must be a Problem"),
    ({"data": LINEAR}, "data = a Problem: must be Data"),
    ({"data": np.zeros((5, 3))}, "data = a ndarray: must be Data"),
    ({"data": slt.statistics_of(LINEAR, moved())}, "data = a RegressionStatistics: must be Data"),
    ({"data": moved(x=np.zeros((0, 3)), y=np.zeros((0, 1)))}, "data: 0 data; must be ≥ 1"),
    ({"data": moved(x=np.zeros((5, 2)))}, "x has shape"),
    ({"data": moved(y=np.zeros((4, 1)))}, "x has 5 data and y has 4"),
    ({"data": moved(y=np.full((5, 1), np.nan))}, "y.0, 0. is nan; data must be finite"),
    ({"data": moved(y=np.full((5, 1), "a"))}, "y: array of type"),
    ({"beta": -1.0}, "beta = -1.0: must be a number > 0 and finite"),
    ({"beta": 0.0}, "beta = 0.0: must be a number > 0 and finite"),
    ({"beta": np.nan}, "beta = nan: must be a number > 0 and finite"),
    ({"beta": np.inf}, "beta = inf: must be a number > 0 and finite"),
    ({"beta": "1"}, "beta = '1': must be a number > 0 and finite"),
    ({"held_out": np.zeros(3)}, "held_out = .*: must be Data"),
    ({"held_out": moved(x=np.zeros((1, 3)), y=np.zeros((1, 1)))}, "held_out: 1 data; must be ≥ 2"),
]
SAMPLED: list[tuple[dict[str, Any], str]] = [
    ({"sampler": "nuts"}, "sampler = 'nuts': must be settings"),
    ({"sampler": slt.NUTSSettings}, "sampler = <class .*NUTSSettings'>: must be settings"),
    ({"sampler": None}, "sampler = None: must be settings"),
    ({"key": None}, "key = None: must be one key"),
    ({"key": 0}, "key = 0: must be one key"),
    ({"key": jnp.zeros(2, jnp.uint32)}, "key = Array.*: must be one key"),
    ({"key": jax.random.split(jax.random.key(0))}, "key = .*: must be one key"),
    ({"seeds": 1}, "seeds = 1: must be an integer ≥ 2"),
    ({"seeds": 2.5}, "seeds = 2.5: must be an integer ≥ 2"),
    ({"num_chains": 1}, "num_chains = 1: must be an integer ≥ 2"),
    ({"step_size": 0.0}, "step_size = 0.0: must be a number > 0"),
    ({"step_size": np.nan}, "step_size = nan: must be a number > 0"),
]


def refused(function: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        function(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "message"), SHARED, ids=lambda value: str(value)[:40])
def test_wrong_input_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    arguments = {"problem": LINEAR, "data": moved()} | changes
    refused(slt.exact, arguments, message)
    refused(slt.sample, {"key": jax.random.key(0)} | arguments, message)


@pytest.mark.parametrize(("changes", "message"), SAMPLED, ids=lambda value: str(value)[:40])
def test_wrong_ways_to_sample_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments = {"problem": LINEAR, "data": moved(), "key": jax.random.key(0)} | changes
    refused(slt.sample, arguments, message)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(TypeError, match=re.escape("argument: 'key'")):
        slt.sample(LINEAR, moved())
