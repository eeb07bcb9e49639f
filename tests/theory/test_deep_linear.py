from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, permutations, product

import numpy as np
import pytest

from slt_jax.theory import Theory, deep_linear, monomial, product_of, reduced_rank, regular

# (number of widths, largest width): two matrices in full, then as far as is quick.
RANGES = [(2, 6), (3, 6), (4, 4), (5, 3)]
ALL_CASES = [
    (widths, rank)
    for length, largest in RANGES
    for widths in product(range(1, largest + 1), repeat=length)
    for rank in range(min(widths) + 1)
]


def value(theory: Theory) -> tuple[Fraction, int]:
    return theory.learning_coefficient, theory.multiplicity


def rank_chains(excess: list[int]) -> Iterator[tuple[int, ...]]:
    """All d₀ = t₀ ≥ t₁ ≥ ... ≥ t_L = 0 with t_i ≤ d_i: ranks of the partial products."""

    def extended(chain: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        i = len(chain)
        if i == len(excess) - 1:
            yield (*chain, 0)
            return
        for t in range(min(chain[-1], excess[i]) + 1):
            yield from extended((*chain, t))

    return extended((excess[0],))


def codimension(chain: tuple[int, ...], excess: list[int]) -> int:
    """Matrix i has to vanish on the t_{i-1} − t_i directions that it kills, modulo its image."""
    return sum((chain[i - 1] - chain[i]) * (excess[i] - chain[i]) for i in range(1, len(excess)))


@pytest.mark.parametrize(
    ("widths", "rank", "expected"),
    [
        ([3, 2], 0, (Fraction(3), 1)),
        ([3, 2], 2, (Fraction(3), 1)),
        ([1, 1, 1, 1], 0, (Fraction(1, 2), 3)),
        ([2, 2, 2, 2], 0, (Fraction(3, 2), 3)),
        ([2, 2, 2, 2], 1, (Fraction(2), 3)),
        ([2, 2, 2, 2], 2, (Fraction(2), 1)),
        ([3, 3, 3, 3, 3], 0, (Fraction(3), 4)),
        ([10, 1, 10, 10], 0, (Fraction(5), 3)),
    ],
)
def test_by_hand(widths, rank, expected):
    assert value(deep_linear(widths, rank)) == expected
    assert deep_linear(widths, rank).kind == "exact"


def test_two_layers_are_reduced_rank_regression():
    for m, h, n in product(range(1, 7), repeat=3):
        for r in range(min(m, n, h) + 1):
            assert value(deep_linear([m, h, n], r)) == value(reduced_rank(m, n, h, r))


def test_one_layer_is_linear_regression():
    for m, n in product(range(1, 7), repeat=2):
        for r in range(min(m, n) + 1):
            assert value(deep_linear([m, n], r)) == value(regular(m * n))


def test_scalar_layers_are_a_monomial():
    for depth in range(1, 10):
        assert value(deep_linear([1] * (depth + 1), 0)) == value(monomial([1] * depth))


def test_sigma_exists_is_unique_and_gives_the_formula():
    """The statement of the theorem itself, with Sigma found among all subsets of the layers."""
    for widths, rank in ALL_CASES:
        excess = [h - rank for h in widths]
        layers = range(len(widths))
        values = set()
        for size in range(2, len(widths) + 1):
            for chosen in combinations(layers, size):
                inside = [excess[s] for s in chosen]
                outside = [excess[s] for s in layers if s not in chosen]
                ell, total = size - 1, sum(inside)
                if total < ell * max(inside):
                    continue
                if outside and not (max(inside) < min(outside) and total < ell * min(outside)):
                    continue
                a = total - (-(-total // ell) - 1) * ell
                pairs = sum(x * y for x, y in combinations(inside, 2))
                coefficient = (
                    Fraction(rank * (widths[0] + widths[-1] - rank), 2)
                    + Fraction(a * (ell - a), 4 * ell)
                    - Fraction(ell * (ell - 1), 4) * Fraction(total, ell) ** 2
                    + Fraction(pairs, 2)
                )
                values.add((chosen, coefficient, a * (ell - a) + 1))
        assert len(values) == 1
        assert values.pop()[1:] == value(deep_linear(widths, rank))


def test_coefficient_is_half_the_least_codimension():
    for widths, rank in ALL_CASES:
        excess = [h - rank for h in widths]
        least = min(codimension(chain, excess) for chain in rank_chains(excess))
        expected = Fraction(rank * (widths[0] + widths[-1] - rank) + least, 2)
        assert deep_linear(widths, rank).learning_coefficient == expected


def test_multiplicity_is_the_longest_chain_of_least_codimension_strata():
    """Strata meet where their rank chains are ordered; nested blow-ups give a pole each.

    There is no proof of this reading here, but it knows nothing of Sigma, a and l.
    """
    for widths, rank in ALL_CASES:
        excess = [h - rank for h in widths]
        strata = {chain: codimension(chain, excess) for chain in rank_chains(excess)}
        least = min(strata.values())
        longest: dict[tuple[int, ...], int] = {}
        for chain in sorted(chain for chain, size in strata.items() if size == least):
            below = (
                length
                for other, length in longest.items()
                if all(s <= t for s, t in zip(other, chain, strict=True))
            )
            longest[chain] = 1 + max(below, default=0)
        assert deep_linear(widths, rank).multiplicity == max(longest.values())


def test_no_hidden_excess_leaves_the_regular_directions_only():
    for widths, rank in ALL_CASES:
        if rank == min(widths):
            expected = Fraction(rank * (widths[0] + widths[-1] - rank), 2), 1
            assert value(deep_linear(widths, rank)) == expected


def test_order_of_the_layers_is_immaterial():
    for widths, rank in ALL_CASES:
        assert deep_linear(widths, rank) == deep_linear(widths[::-1], rank)
        if rank == 0:
            assert {deep_linear(w, 0) for w in permutations(widths)} == {deep_linear(widths, 0)}


def test_a_wider_network_is_never_below():
    for widths, rank in ALL_CASES:
        coefficient = deep_linear(widths, rank).learning_coefficient
        for s in range(len(widths)):
            wider = [h + (i == s) for i, h in enumerate(widths)]
            assert deep_linear(wider, rank).learning_coefficient >= coefficient


def test_one_input_is_a_product_of_squared_norms():
    """|A_L ... A₁| with one input is a product of independent chi variables if A is normal."""
    for length in range(1, 5):
        for widths in product(range(1, 6), repeat=length):
            expected = value(product_of(*map(regular, widths)))
            assert value(deep_linear([1, *widths], 0)) == expected


def added(distribution: np.ndarray, survival: np.ndarray) -> np.ndarray:
    """The distribution along the last axis after adding a variable; the last state absorbs."""
    top = distribution.shape[-1] - 1
    step = survival - np.append(survival[1:], 0.0)
    transition = np.zeros((top + 1, top + 1))
    for s in range(top + 1):
        transition[s, s:top] = step[: top - s]
        transition[s, top] = survival[top - s]
    return distribution @ transition


def probability_of_divisibility(widths: tuple[int, ...], top: int) -> np.ndarray:
    """P(2^k divides A_L ... A₁), k = 0..top, for uniform 2-adic matrices and two inputs.

    The elementary divisors 2^s, 2^t of the partial product, s ≤ t, are a Markov chain. A matrix
    with d rows sends the two columns to 2^s b, 2^t c with b, c uniform: their valuations x, y
    have P(x ≥ k) = 2^{-dk}, and the primitive parts agree up to a unit modulo 2^z with
    P(z ≥ k) = 2^{-(d-1)k} (1 − 1/2)/(1 − 2^{−d}), k ≥ 1. Then s and t become min(s + x, t + y)
    and max(s + x, t + y) + z.
    """
    k = np.arange(top + 1)
    joint = np.zeros((top + 1, top + 1))
    joint[0, 0] = 1.0
    for d in widths:
        joint = added(joint, 0.5 ** (d * k))
        joint = added(joint.T, 0.5 ** (d * k)).T
        joint = np.triu(joint) + np.tril(joint, -1).T
        agreement = 0.5 ** ((d - 1) * k + 1.0) / (1 - 0.5**d)
        agreement[0] = 1.0
        joint = added(joint, agreement)
    return np.array([joint[i:, i:].sum() for i in k])


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_two_inputs_by_volume_scaling(length, assert_scaling):
    """The volume of {|A_L ... A₁| ≤ e} over the 2-adic integers, exactly, for e = 2^{−k}.

    The strata and their normal directions are those of the real problem, so that the volume goes
    as e^{2 λ} (log 1/e)^{m-1} with the same pair; 1/e² plays the part of n. Nothing here is
    sampled, and what is left after the leading term is of order e: 1e-9 is rounding.
    """
    largest = {1: 5, 2: 5, 3: 4, 4: 3}[length]
    for widths in product(range(1, largest + 1), repeat=length):
        theory = deep_linear([2, *widths], 0)
        k = 80 - 10 * np.arange(theory.multiplicity, -1, -1)
        volume = probability_of_divisibility(widths, 80)[k]
        assert_scaling(theory, 2 * np.log(2) * k, np.log(volume), 1e-6)
