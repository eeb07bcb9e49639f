"""The public contract: right problems pass, and each check is shown to be able to fail."""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import slt_jax as slt
from slt_jax.testing import check_problem, contract, probe

ALL = [
    "value", "dimension", "prior", "simulation", "density", "one distribution", "sums", "float32",
    "optimum", "entropy", "optimal set",
]  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Location(slt.Model):
    """y ~ N(w, 1) without an input, w ~ N(0, 1)."""

    def priors(self):
        return {"w": dist.Normal(0.0, 1.0)}

    def log_likelihood(self, params, x, y):
        return -((y - params["w"]) ** 2 + jnp.log(2 * jnp.pi)) / 2

    def simulate(self, params, key):
        return jnp.zeros(0), params["w"] + jax.random.normal(key)

    def entropy(self, params):
        return jnp.asarray((1 + jnp.log(2 * jnp.pi)) / 2)


RIGHT = slt.Problem(
    "location", Location(), {"w": np.array(0.5)}, optimal_set=lambda key: {"w": 0.5}
)


@pytest.fixture(autouse=True)
def few_data(monkeypatch: pytest.MonkeyPatch):
    """Enough for what is wrong here; the programs are those of 10⁴."""
    for module in (contract, probe):
        monkeypatch.setattr(module, "NUM_DATA", 2000)
    probe.data_of.cache_clear()
    yield
    probe.data_of.cache_clear()


@pytest.mark.false_alarm(comparisons=7 * probe.NUM_DRAWS + 2, standard_errors=6)
def test_a_right_problem_passes_all_checks():
    assert check_problem(RIGHT) == ALL


def test_a_problem_without_a_truth_has_fewer():
    model = slt.define_model(lambda params, x, y: params["w"] * y, {"w": dist.Uniform(-1, 1)})
    assert check_problem(slt.Problem("bare", model)) == ALL[:3]
    assert check_problem(slt.Problem("no data", model, {"w": 0.5})) == ALL[:3]


class Unequal(Location):
    def __eq__(self, other):
        return self is other

    __hash__ = slt.Model.__hash__


class OneDraw(Location):
    def sample_prior(self, key):
        return {"w": jnp.zeros(())}


class OneDatum(Location):
    def simulate(self, params, key):
        return super().simulate(params, jax.random.key(0))


class NotNormalised(Location):
    def log_likelihood(self, params, x, y):
        return super().log_likelihood(params, x, y) + 0.1


class TooWide(Location):
    def simulate(self, params, key):
        return jnp.zeros(0), params["w"] + 1.6 * jax.random.normal(key)


class Twice(Location):
    def log_likelihood_ratio(self, params, statistics):
        return 2 * super().log_likelihood_ratio(params, statistics)


class Rounded(Location):
    """Totals are summed before they are subtracted, with a constant that all data share."""

    def log_likelihood_ratio(self, params, statistics):
        totals = [
            jnp.sum(statistics.weights * (self.log_likelihoods(w, statistics.data) + 1000))
            for w in (params, statistics.optimum)
        ]
        return totals[0] - totals[1]


class TooMuchEntropy(Location):
    def entropy(self, params):
        return super().entropy(params) + 0.2


def with_model(model) -> slt.Problem:
    return dataclasses.replace(RIGHT, model=model)


MOVED = slt.Truth(Location(), {"w": np.array(1.0)})
WRONG = [
    (with_model(Unequal()), "value: models of equal fields must be equal"),
    (
        dataclasses.replace(RIGHT, theory=slt.Theory(Fraction(3), 1, "exact", "nowhere")),
        "dimension: λ = 3 of 1 parameters",
    ),
    (with_model(OneDraw()), "prior: draws of w are the same"),
    (with_model(OneDatum()), "simulation: two keys give the same data"),
    (with_model(NotNormalised()), "density: .* integrates to 1.1"),
    (with_model(TooWide()), "one distribution: data are not drawn"),
    (with_model(Twice()), "sums: log_likelihood_ratio is off the plain sum"),
    (dataclasses.replace(RIGHT, truth=MOVED), "optimum: the optimum is beaten at"),
    (with_model(TooMuchEntropy()), "entropy: entropy is 1.6.*, and of the data 1.4"),
    (
        dataclasses.replace(RIGHT, optimal_set=lambda key: {"w": 0.6}),
        "optimal set: a draw of optimal_set has another density",
    ),
]


@pytest.mark.parametrize(("problem", "message"), WRONG, ids=lambda value: str(value)[:18])
def test_what_is_wrong_is_named(problem: slt.Problem, message: str) -> None:
    with pytest.raises(AssertionError, match=rf"(?s)^location: {message}"):
        check_problem(problem)


def test_digits_that_float32_loses_are_noticed() -> None:
    with pytest.raises(AssertionError, match="float32 loses digits"):
        contract.check_float32(with_model(Rounded()))
