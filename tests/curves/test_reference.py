"""Problems of which no truth is known: the point that stands for it, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import slt_jax as slt
from slt_jax.models.linear import LinearRegression

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 3))
DATA = slt.Data(X, X @ np.array([[1.0], [-2.0], [30.0]]) + RNG.standard_normal((200, 1)))
BARE = slt.Problem("bare", LinearRegression(input_dim=3))


def test_the_reference_is_the_posterior_mode():
    """Ridge regression, with one of the coefficients far out of the prior's bulk."""
    found = slt.with_reference(BARE, DATA)
    ridge = np.linalg.solve(X.T @ X + np.eye(3), X.T @ DATA.y)[:, 0]
    np.testing.assert_allclose(found.optimum["w"], ridge, rtol=1e-5)
    assert found.optimum_is_fitted
    assert slt.with_reference(found, DATA) is found


def test_the_best_of_several_modes_is_found():
    """Two modes at ±2, of which the data weigh one by e^20: wherever Adam starts."""

    def two_modes(params, x, y):
        well = -50 * (params["w"] ** 2 - 4.0) ** 2
        return well + 0.25 * params["w"] * y

    model = slt.define_model(two_modes, {"w": dist.Uniform(-8, 8)})
    found = slt.with_reference(slt.Problem("modes", model), slt.Data(None, np.full(20, -1.0)))
    assert float(found.optimum["w"]) == pytest.approx(-2.0, abs=0.01)


def test_a_fitted_optimum_is_no_truth():
    found = slt.with_reference(BARE, DATA)
    assert not found.realisable
    assert not found.has_truth
    assert (found.entropy, found.optimal_loss) == (None, None)
    for problem in (BARE, found):
        with pytest.raises(ValueError, match="^bare: no truth is known; give the Problem"):
            slt.simulate(problem, jax.random.key(0), 5)


def test_what_needs_an_optimum_says_so():
    for refused in (slt.oracle_for, lambda problem: slt.statistics_of(problem, DATA)):
        with pytest.raises(ValueError, match="^bare: has no optimum; .* by with_reference$"):
            refused(BARE)


def test_data_that_are_impossible_under_the_prior_are_refused():
    def below(params, x, y):
        return jnp.where(y < params["w"], 0.0, -jnp.inf)

    model = slt.define_model(below, {"w": dist.Uniform(0, 1)})
    with pytest.raises(ValueError, match="the likelihood of the data is zero at all of 64 draws"):
        slt.exact(model, slt.Data(None, np.array([2.0])))


def test_the_result_names_its_reference():
    """λ̂ is relative to it, and the free energy is not: the same as with any other w₀."""
    fitted, known = (
        slt.exact(of, DATA)
        for of in (BARE.model, slt.Problem("known", BARE.model, {"w": np.array([1.0, -2.0, 30.0])}))
    )
    assert fitted.reference == "the best posterior mode of 16 starts"
    assert known.reference == "the optimum of the problem"
    assert f"is relative to: {fitted.reference}" in fitted.summary()
    assert "no bayes_generalisation_loss: no truth is known: give held_out" in fitted.summary()
    gap = abs(fitted.free_energy.value - known.free_energy.value)
    assert gap < fitted.free_energy.error + known.free_energy.error
    shift = (fitted.energy_at_optimum - known.energy_at_optimum) / np.log(200)
    difference = known.learning_coefficient.value - fitted.learning_coefficient.value
    assert difference == pytest.approx(shift, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [slt.SMCSettings(), slt.NUTSSettings()], ids=["smc", "nuts"])
@pytest.mark.false_alarm(comparisons=2, standard_errors=9.5, degrees_of_freedom=15)
def test_samples_agree_with_the_exact_answer(sampler):
    key = jax.random.key(3)
    sampled = slt.sample(BARE.model, DATA, key=key, sampler=sampler, seeds=16, num_chains=32)
    exact = slt.exact(BARE, DATA)
    assert sampled.learning_coefficient.basis.reference == "mode"
    assert sampled.normalised_free_energy.basis.reference == "mode"
    for name in ("free_energy", "learning_coefficient"):
        estimate = getattr(sampled, name)
        gap = abs(float(estimate.value) - float(getattr(exact, name).value))
        assert gap < 9.5 * float(estimate.standard_error)
