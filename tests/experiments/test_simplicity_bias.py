"""Simplicity bias: complexity, counts, volumes and digits against other routes."""

import collections
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import dblquad, quad

from experiments.simplicity_bias import PRESETS, study
from experiments.simplicity_bias.complexity import lempel_ziv, word_counts
from experiments.simplicity_bias.counting import counted, drawn_counts, merged, wilson
from experiments.simplicity_bias.digits import _at_each_gamma, _least_loss, digits
from experiments.simplicity_bias.maps import (
    LENGTH,
    PI_WORDS,
    Map,
    Scales,
    grid,
    inputs,
    maps,
    packed,
    unpacked,
)
from experiments.simplicity_bias.perceptron import constant_probability
from experiments.simplicity_bias.priors import prior_of
from experiments.simplicity_bias.volumes import Target, essay_volume, targets
from slt_jax import theory

SMOKE = PRESETS["smoke"]
UNIT = Scales(jnp.float32(1), jnp.float32(1))
TARGETS = {target.name: target for target in targets()}
EXACT = [target for target in targets() if target.exact is not None]


# --- complexity -------------------------------------------------------------------------------


def words_of(string: str) -> int:
    """Count the words of the exhaustive history: each is looked for in what precedes its end."""
    count, start = 0, 0
    while start < len(string):
        end = start + 1
        while end <= len(string) and string[start:end] in string[: end - 1]:
            end += 1
        count, start = count + 1, end
    return count


def as_array(strings: list[str]) -> np.ndarray:
    return np.array([list(map(int, string)) for string in strings], np.int8)


def test_words_against_the_definition() -> None:
    rng = np.random.default_rng(0)
    strings = ["".join(map(str, row)) for row in rng.integers(0, 2, (40, 16))]
    strings += ["0001101001000101", "0" * 16, "01" * 8, "0" * 15 + "1", "1" + "0" * 15]
    found = word_counts(jnp.asarray(as_array(strings)))
    assert found.tolist() == [words_of(string) for string in strings]
    # The example of Kaspar and Schuster, 0·001·10·100·1000·101.
    assert found[40] == 6


def test_complexity_is_normalised_and_goes_both_ways() -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 2, (30, LENGTH)) < rng.uniform(size=(30, 1))
    rows[0], rows[1], rows[2] = 0, 1, np.arange(LENGTH) == LENGTH - 1
    strings = ["".join(map(str, row.astype(int))) for row in rows]
    expected = [7 / 2 * (words_of(each) + words_of(each[::-1])) for each in strings]
    found = lempel_ziv(np.asarray(packed(jnp.asarray(rows))))
    assert found[:3].tolist() == [7.0, 7.0, 17.5]
    np.testing.assert_allclose(found[3:], expected[3:])


# --- maps and counts --------------------------------------------------------------------------


def test_functions_are_packed_with_the_first_input_in_the_highest_bit() -> None:
    values = np.zeros((2, LENGTH), bool)
    values[0, 0] = values[1, 33] = True
    words = np.asarray(packed(jnp.asarray(values)))
    assert words.tolist() == [[2**31, 0, 0, 0], [0, 2**30, 0, 0]]
    np.testing.assert_array_equal(unpacked(words), values)
    assert inputs()[1].tolist() == [0, 0, 0, 0, 0, 0, 1]


def arctan_of_inverse(x: int, one: int) -> int:
    total, term, k = 0, one // x, 0
    while term:
        total += (-1) ** k * (term // (2 * k + 1))
        term, k = term // x**2, k + 1
    return total


def test_digits_of_pi_by_machins_formula() -> None:
    one = 1 << 160
    pi = 4 * (4 * arctan_of_inverse(5, one) - arctan_of_inverse(239, one))
    digits_of_pi = (pi - 3 * one) >> 32
    assert digits_of_pi == functools.reduce(lambda a, b: a << 32 | b, PI_WORDS)


def named(name: str) -> Map:
    return next(at for at in maps() if at.name == name)


@pytest.mark.parametrize("name", ["polynomial", "products"])
def test_polynomials_change_their_sign_four_times_at_most(name: str) -> None:
    found = drawn_counts(named(name), jax.random.key(0), 512, 512, UNIT)
    changes = np.abs(np.diff(unpacked(found.words), axis=1)).sum(axis=1)
    assert changes.max() <= 4
    assert math.log2(len(found.drawn)) < named(name).log_outputs


def test_products_are_products() -> None:
    key, factors = jax.random.key(3), (1, 2, 3, 4, 5)
    theta = np.asarray(jax.random.normal(key, (2, 15)))
    blocks = np.split(theta, [1, 3, 6, 10], axis=1)
    assert [block.shape[1] for block in blocks] == list(factors)
    expected = sum(
        block.prod(axis=1)[:, None] * grid() ** (4 - i) for i, block in enumerate(blocks)
    )
    np.testing.assert_allclose(named("products").logits(key, 2, UNIT), expected, atol=1e-5)


def test_perceptrons_are_monotone_in_each_input_and_masks_are_added() -> None:
    found = drawn_counts(named("perceptron"), jax.random.key(0), 512, 512, UNIT)
    cubes = unpacked(found.words).reshape(-1, *7 * (2,))
    for axis in range(1, 8):
        steps = np.diff(cubes, axis=axis).reshape(len(cubes), -1)
        assert np.all((steps.min(axis=1) >= 0) | (steps.max(axis=1) <= 0))
    masked = drawn_counts(named("π ⊕ perceptron"), jax.random.key(0), 512, 512, UNIT)
    expected = {tuple(word) for word in (found.words ^ np.array(PI_WORDS, np.uint32)).tolist()}
    assert {tuple(word) for word in masked.words.tolist()} == expected


def test_counts_against_a_dictionary() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2, (600, 4)).astype(np.uint32) * np.uint32(2**31 + 1)
    parts = [counted(jnp.asarray(words[:300])), counted(jnp.asarray(words[300:]))]
    whole = merged(parts)
    expected = collections.Counter(map(tuple, words.tolist()))
    found = dict(zip(map(tuple, whole.words.tolist()), whole.drawn.tolist(), strict=True))
    assert found == dict(expected)
    np.testing.assert_array_equal(whole.complexity, lempel_ziv(whole.words))


def test_draws_do_not_depend_on_the_batch() -> None:
    one, two = (
        drawn_counts(named("perceptron"), jax.random.key(1), 1024, batch, UNIT)
        for batch in (1024, 512)
    )
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_intervals_of_wilson() -> None:
    low, high = wilson(np.array([10.0, 0.0]), 100, 1.959964)
    assert low == pytest.approx([0.05523, 0.0], abs=1e-5)
    assert high == pytest.approx([0.17437, 0.03699], abs=1e-5)


@pytest.mark.false_alarm(comparisons=2, standard_errors=6)
def test_the_constant_function_of_a_perceptron() -> None:
    rng = np.random.default_rng(0)
    weights = np.maximum(rng.standard_normal((200000, 7)), 0).sum(axis=1) / math.sqrt(7)
    bias = rng.standard_normal(200000)
    for scale in (1.0, 0.3):
        exact = constant_probability(1.0, scale)
        assert exact.error < 1e-7
        error = math.sqrt(exact.value * (1 - exact.value) / 200000)
        assert abs((scale * bias + weights < 0).mean() - exact.value) < 6 * error
    assert constant_probability(1e-9, 1.0).value == pytest.approx(0.5, abs=1e-6)


@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_priors_are_counted() -> None:
    config = dataclasses.replace(SMOKE, repeats=4, batch_draws=2048)
    found = prior_of(config, jax.random.key(0), named("perceptron"))
    np.testing.assert_allclose(found["draw_share"].sum("complexity"), 1.0)
    exact = float(found["exact_constant"])
    error = math.sqrt(exact * (1 - exact) / config.draws)
    assert abs(float(found["constant_share"].mean()) - exact) < 6 * error
    best = found["best_probability"].to_numpy()
    resolved = np.isfinite(best)
    assert np.all(best[resolved] * config.draws >= 10)
    assert np.all(found["best_least"].to_numpy()[resolved] < found["best_low"].to_numpy()[resolved])
    assert np.all(found["best_high"].to_numpy()[resolved] < found["best_most"].to_numpy()[resolved])
    bits = np.floor(-np.log2(best[resolved])).astype(int)
    table = found["function_count"].to_numpy()
    assert np.all(table[resolved, bits] >= 1)
    assert table[~resolved].sum() == 0
    # The two constants are the only functions of their complexity.
    assert table[0].sum() == 2


# --- volumes ----------------------------------------------------------------------------------


def volume(name: str, n: float) -> float:
    target = TARGETS[name]
    assert target.exact is not None
    return float(np.exp(target.exact(np.array([n])).value[0]))


def test_volumes_against_integrals() -> None:
    ball = dblquad(
        lambda y, x: 8 * math.sqrt(max(0.0, 0.02 - x * x - y * y)) / 8,
        0, math.sqrt(0.02), 0, lambda x: math.sqrt(0.02 - x * x),
    )[0]  # fmt: skip
    assert volume("wx, w ∈ ℝ³", 100.0) == pytest.approx(ball, rel=1e-6)
    size = math.sqrt(0.02)
    product = quad(lambda w: min(1.0, size / w), 0, 1, points=[size])[0]
    assert volume("w₁w₂x at 0", 100.0) == pytest.approx(product, rel=1e-9)
    half = quad(
        lambda w: (min(1.0, (0.5 + size) / w) - min(1.0, (0.5 - size) / w)) / 2, 0, 1,
        points=[0.5 - size, 0.5 + size],
    )[0]  # fmt: skip
    assert volume("w₁w₂x at ½x", 100.0) == pytest.approx(half, rel=1e-9)
    five = quad(lambda t: math.exp(-t) * t**4 / 24, -math.log(size), np.inf)[0]
    assert volume("w₁…w₅x at 0", 100.0) == pytest.approx(five, rel=1e-9)


@pytest.mark.false_alarm(comparisons=4, standard_errors=6)
@pytest.mark.parametrize("name", ["essay's map at ½", "essay's map at ½x⁴"])
def test_volumes_of_the_essays_map_against_draws(name: str) -> None:
    draws = np.random.default_rng(0).uniform(-1, 1, (200000, 15))
    excess = TARGETS[name].excess(draws)
    for n in (10, 20):
        exact = volume(name, n)
        assert abs((excess < 1 / n).mean() - exact) < 6 * math.sqrt(exact / 200000)


@pytest.mark.parametrize("target", EXACT, ids=lambda target: target.name)
def test_exact_volumes_have_the_theorems_exponents(target: Target) -> None:
    log_n = np.linspace(20.0, 120.0, 41)
    assert target.exact is not None
    found = target.exact(np.exp(log_n))
    assert np.all(found.error < 1e-6)
    scaling = theory.Scaling(log_n, found.value[None])
    measured = theory.measure(scaling, multiplicity=target.theory.multiplicity)
    limit = float(target.theory.learning_coefficient)
    assert measured.learning_coefficient == pytest.approx(limit, rel=2e-2)


def test_small_sizes_have_no_exact_volume() -> None:
    with pytest.raises(ValueError, match="n = 9: must be at least 10"):
        essay_volume(1, np.array([9.0]))


def test_the_tanh_units_vanish_together() -> None:
    excess = TARGETS["Σ a tanh(bx), H=2, at 0"].excess
    w = np.array([[1.0, -1.0, 0.4, 0.4], [1.0, 0.0, 0.7, 0.3]])
    expected = quad(lambda x: math.tanh(0.7 * x) ** 2 / 4, -1, 1)[0]
    np.testing.assert_allclose(excess(w), [0.0, expected], atol=1e-9)


def test_levels_are_no_farther_apart_than_a_factor_of_two() -> None:
    levels = study._levels(np.log([10.0, 20.0, 1000.0]))
    assert np.diff(np.exp(levels)[:1]).size == 0
    assert np.all(np.diff(levels) <= math.log(2) + 1e-9)
    for n in (10.0, 20.0, 1000.0):
        assert np.min(np.abs(levels - math.log(n))) < 1e-12


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=6, standard_errors=7, degrees_of_freedom=31)
def test_splitting_against_exact_volumes() -> None:
    config = dataclasses.replace(SMOKE, particles=1000, volume_repeats=32, sweeps=20)
    for i, target in enumerate(targets()):
        if target.exact is None:
            continue
        found = study.volume_of(config, jax.random.key(i), target).isel(volume_n=-1)
        assert abs(found["bits"] - found["exact_bits"]) < 7 * found["bits_se"], target.name


# --- digits -----------------------------------------------------------------------------------


def test_the_least_loss_is_that_of_the_best_outputs() -> None:
    share = np.full(10, 0.01)
    share[3] = 0.91
    assert _least_loss(0.1) == pytest.approx(-np.sum(share * np.log(share)))


def test_digits_are_split_once_and_each_training_has_its_random_labels() -> None:
    config = dataclasses.replace(SMOKE, train_size=1500, trainings=3)
    found = digits(config, jax.random.key(0))
    assert found.images.shape == (1500, 64)
    assert found.test_images.shape == (297, 64)
    assert float(found.images.min()) == -0.5
    assert float(found.images.max()) == 0.5
    agreement = np.mean(found.labels[:, 1:] == found.labels[:, :1], axis=0)
    assert np.all(np.abs(agreement - 0.1) < 0.06)
    assert np.any(found.labels[:, 1] != found.labels[:, 2])


def test_the_longest_step_that_is_accepted_is_taken() -> None:
    axes = ("checkpoint", "localisation", "step")
    scan = xr.Dataset(
        {
            "acceptance": (axes, [[[0.99, 0.95, 0.8], [0.8, 0.7, 0.6]]]),
            "local_learning_coefficient": (axes, [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]),
            "settled": (axes, [[[False, True, True], [True, True, True]]]),
        }
    )
    value, settled = _at_each_gamma(scan)
    assert value.tolist() == [[2.0, 4.0]]
    assert settled.tolist() == [[True, False]]
