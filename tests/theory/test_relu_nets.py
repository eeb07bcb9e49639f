from fractions import Fraction

import pytest

from slt_jax.theory import (
    regular,
    relu_breakpoints,
    relu_network,
    relu_slopes,
    relu_zero_truth,
)


def value(theory):
    return theory.learning_coefficient, theory.multiplicity


def test_slopes_by_hand():
    for hidden_dim in range(1, 6):
        assert relu_slopes(hidden_dim, 0) == relu_zero_truth(hidden_dim)
        assert value(relu_slopes(hidden_dim, 1)) == (Fraction(1, 2), 1)
        if hidden_dim > 1:
            assert value(relu_slopes(hidden_dim, 2)) == (Fraction(1), 1)


@pytest.mark.parametrize(
    ("true_widths", "expected"),
    [
        # weights and biases, less one rescaling for each hidden unit
        ((3, 2), Fraction(8, 2)),
        ((1, 1, 1), Fraction(4 - 1, 2)),
        ((1, 0, 1), Fraction(1, 2)),
        ((2, 3, 4, 1), Fraction(9 + 16 + 5 - 7, 2)),
    ],
)
def test_network_by_hand(true_widths, expected):
    hidden = [h + 2 for h in true_widths[1:-1]]
    theory = relu_network([true_widths[0], *hidden, true_widths[-1]], true_widths)
    assert value(theory) == (expected, 1)
    assert theory.kind == "upper bound"


def test_the_bound_knows_the_truth_alone():
    bounds = {relu_network([2, h, g, 1], [2, 3, 2, 1]) for h in (3, 5, 9) for g in (2, 4)}
    assert len(bounds) == 1


def test_without_hidden_layers_it_is_linear_regression():
    assert value(relu_network([3, 2], [3, 2])) == value(regular(8))


def test_a_wider_truth_is_dearer():
    bounds = [
        relu_network([2, 9, 9, 1], [2, h, g, 1]).learning_coefficient
        for h, g in [(0, 0), (1, 1), (2, 1), (2, 2), (5, 2), (9, 9)]
    ]
    assert bounds == sorted(bounds)
    assert len(set(bounds)) == len(bounds)


def test_breakpoints_are_what_further_units_leave():
    for true in range(4):
        assert {value(relu_breakpoints(h, true)) for h in range(max(true, 1), 7)} == {(true, 1)}
        # The bound of the literature has a bias of the output too.
        if true:
            bound = relu_network([1, 6, 1], [1, true, 1]).learning_coefficient
            assert relu_breakpoints(6, true).learning_coefficient == bound - Fraction(1, 2)
