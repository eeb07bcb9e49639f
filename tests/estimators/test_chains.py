"""Errors of means over chains: by hand, what they are made of, and that they are true."""

import numpy as np
import pytest

from slt_jax.estimators import Estimate, delta_method, delta_method_blocks, mean_over_chains


def autoregressive(shape: tuple[int, ...], correlation: float, seed: int = 0) -> np.ndarray:
    """Stationary chains of mean 0 and variance 1 along the last axis."""
    noise = np.random.default_rng(seed).normal(size=shape)
    chains = np.empty(shape)
    chains[..., 0] = noise[..., 0]
    for t in range(1, shape[-1]):
        fresh = np.sqrt(1 - correlation**2) * noise[..., t]
        chains[..., t] = correlation * chains[..., t - 1] + fresh
    return chains


def assert_covers(estimate: Estimate, exact: float, most: float) -> None:
    """95 % intervals cover at least that often less 5 binomial standard errors (3e-7), and the
    root mean square of the claimed errors is at most so many times the true one."""
    deviation = estimate.value - exact
    share = np.mean(np.abs(deviation) <= estimate.half_width())
    assert share >= 0.95 - 5 * np.sqrt(0.95 * 0.05 / deviation.size)
    claimed = np.sqrt(np.mean(estimate.standard_error**2))
    assert claimed <= most * np.sqrt(np.mean(deviation**2))


@pytest.mark.parametrize(
    ("shape", "correlation", "most"),
    [((400, 1, 400), 0.5, 1.25), ((400, 4, 200), 0.5, 1.35), ((300, 32, 40), 0.95, 1.2)],
)
@pytest.mark.false_alarm(comparisons=2, standard_errors=5)
def test_intervals_cover(shape: tuple[int, ...], correlation: float, most: float) -> None:
    """One chain, few, and many that are shorter than their autocorrelation time.

    The larger of two errors is taken: for 4 chains it is 1.2 times the true one.
    """
    estimate = mean_over_chains(autoregressive(shape, correlation))
    assert_covers(estimate, 0.0, most)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("chains", [1, 4, 16, 64])
def test_intervals_cover_in_many_runs(chains: int, correlation: float) -> None:
    """Autocorrelation times up to 19 in chains of 500; 1.3 bounds the conservatism measured."""
    estimate = mean_over_chains(autoregressive((1000, chains, 500), correlation, seed=1))
    assert_covers(estimate, 0.0, 1.3)


def test_the_parts_add_up_and_say_which_is_which() -> None:
    """Chains about means of their own: the inside knows nothing of what the outside sees."""
    offsets = np.random.default_rng(1).normal(size=(16, 1))
    mixed = mean_over_chains(autoregressive((16, 400), 0.5))
    stuck = mean_over_chains(autoregressive((16, 400), 0.5) + offsets)
    for estimate in (mixed, stuck):
        parts = estimate.sources.within_chains**2 + estimate.sources.between_chains**2
        np.testing.assert_allclose(estimate.standard_error**2, parts)
    assert stuck.sources.between_chains > 5 * stuck.sources.within_chains
    assert stuck.sources.within_chains == pytest.approx(float(mixed.sources.within_chains))
    expected = (autoregressive((16, 400), 0.5) + offsets).mean(axis=1).std(ddof=1) / 4
    assert stuck.standard_error == pytest.approx(expected)
    assert stuck.degrees_of_freedom == 15
    alone = mean_over_chains(autoregressive((1, 400), 0.5))
    assert alone.sources.between_chains is None
    assert alone.sources.between_data_sets is None


def test_blocks_by_hand() -> None:
    """Two chains of blocks 0, 2 and 1, 3: variance 2 within each, means 1 and 2.

    Within: 2·2/(2·2²) = 1/2. Between: the means have variance 1/2, over 2 chains 1/4: no excess.
    """
    estimate = delta_method_blocks(1.5, np.array([[0.0, 2.0], [1.0, 3.0]]))
    assert estimate.standard_error == pytest.approx(np.sqrt(1 / 2))
    assert estimate.sources.between_chains == 0
    assert estimate.degrees_of_freedom == 2
    apart = delta_method_blocks(6.0, np.array([[0.0, 2.0], [10.0, 12.0]]))
    assert apart.standard_error == pytest.approx(5)
    assert apart.sources.between_chains == pytest.approx(np.sqrt(25 - 1 / 2))
    assert apart.degrees_of_freedom == 1
    single = delta_method_blocks(0.5, np.array([[0.0], [1.0]]))
    assert single.standard_error == pytest.approx(0.5)
    assert single.sources.within_chains is None


def test_strata_add() -> None:
    """A sum over two independent strata has the sum of their squared errors within chains."""
    draws = autoregressive((2, 4, 300), 0.5, seed=2)
    both = delta_method(0.0, draws)
    each = [delta_method(0.0, stratum[None]).sources.within_chains ** 2 for stratum in draws]
    assert both.sources.within_chains**2 == pytest.approx(float(sum(each)))


def test_what_is_not_finite_or_never_moves_has_no_error() -> None:
    draws = autoregressive((3, 2, 100), 0.0)
    draws[0, 1, 50] = np.nan
    draws[1, 0] = 3.0
    estimate = mean_over_chains(draws)
    np.testing.assert_array_equal(np.isnan(estimate.standard_error), [True, True, False])
    assert np.isnan(estimate.value[0])


def test_one_constant_has_no_error_and_two_are_not_one() -> None:
    """All draws 0.1, as of a likelihood that does not depend on w; then one chain elsewhere."""
    draws = np.full((2, 4, 50), 0.1)
    draws[1, 2] = 0.3
    estimate = mean_over_chains(draws)
    np.testing.assert_array_equal(estimate.standard_error, [0, np.nan])
    assert estimate.value[0] == pytest.approx(0.1)
    assert estimate.half_width()[0] == 0


def test_the_bias_of_a_step_is_part_of_the_error() -> None:
    """Draws that twice the step shifts by 2: that, and what chance makes of it, in squares."""
    fine = autoregressive((8, 200), 0.3)
    coarse = autoregressive((8, 200), 0.3, seed=1) + 2
    alone, other = mean_over_chains(fine), mean_over_chains(coarse)
    estimate = mean_over_chains(fine, coarse=coarse)
    assert estimate.value == alone.value
    change = other.value - alone.value
    expected = np.sqrt(change**2 + alone.standard_error**2 + other.standard_error**2)
    assert estimate.sources.discretisation == pytest.approx(expected)
    assert estimate.standard_error == pytest.approx(np.hypot(alone.standard_error, expected))
    assert alone.sources.discretisation is None
    coarse[0, 0] = np.nan
    assert np.isnan(mean_over_chains(fine, coarse=coarse).standard_error)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"shape \(5,\)"):
        mean_over_chains(np.zeros(5))
    with pytest.raises(ValueError, match="at least 4"):
        mean_over_chains(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="1 chain of 1 block"):
        delta_method_blocks(0.0, np.zeros((1, 1)))
