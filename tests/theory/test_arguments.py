"""Every theorem refuses what it does not cover, and says what it refused."""

import numpy as np
import pytest

from slt_jax.theory import (
    deep_linear,
    monomial,
    naive_bayes,
    newton_polyhedron,
    nonnegative_factorisation,
    normal_mixture,
    one_factor_analysis,
    power_coefficients,
    rank_one_factorisation,
    reduced_rank,
    reduced_rank_local,
    regular,
    relu_breakpoints,
    relu_network,
    relu_slopes,
    relu_zero_truth,
    skalse_polynomial,
    superposition_polygon,
    surplus_unit,
    tanh_zero_truth,
    vandermonde,
)

REFUSED = [
    (regular, (-1,), "dim=-1"),
    (regular, (1.5,), "dim=1.5"),
    (regular, (True,), "dim=True"),
    (monomial, ([],), "exponents=[]"),
    (monomial, ([0, 0],), "exponents=[0, 0]"),
    (monomial, ([1, -2],), "exponents[1]=-2"),
    (monomial, ([0.5],), "exponents[0]=0.5"),
    (monomial, ([1, 1], [0, -1]), "prior_exponents[1]=-1"),
    (monomial, ([1, 1], [0, 0.5]), "prior_exponents[1]=0.5"),
    (monomial, ([1, 1], [0]), "prior_exponents=[0]"),
    (reduced_rank, (0, 2, 1, 0), "input_dim=0"),
    (reduced_rank, (2, 0, 1, 0), "output_dim=0"),
    (reduced_rank, (2, 2, 0, 0), "hidden_dim=0"),
    (reduced_rank, (2, 2, 1, -1), "rank=-1"),
    (reduced_rank, (3, 3, 2, 3), "rank=3"),
    (reduced_rank, (1, 3, 3, 2), "rank=2"),
    (reduced_rank, (3, 1, 3, 2), "rank=2"),
    (reduced_rank, (2.0, 2, 1, 0), "input_dim=2.0"),
    (rank_one_factorisation, (0, 2), "n=0"),
    (rank_one_factorisation, (2, -1), "m=-1"),
    (deep_linear, ([], 0), "widths=[]"),
    (deep_linear, ([3], 0), "widths=[3]"),
    (deep_linear, ([3, 0, 3], 0), "widths[1]=0"),
    (deep_linear, ([3, 2, 2.5], 0), "widths[2]=2.5"),
    (deep_linear, ([3, 2, 3], 3), "rank=3"),
    (deep_linear, ([3, 2, 3], -1), "rank=-1"),
    (deep_linear, ([3, 2, 3], 1.0), "rank=1.0"),
    (tanh_zero_truth, (0,), "hidden_dim=0"),
    (tanh_zero_truth, ("2",), "hidden_dim='2'"),
    (relu_zero_truth, (0,), "hidden_dim=0"),
    (vandermonde, (0, 1, 1), "hidden_dim=0"),
    (vandermonde, (1, 0, 1), "output_dim=0"),
    (vandermonde, (1, 1, 0), "q=0"),
    (normal_mixture, (0,), "num_components=0"),
    (skalse_polynomial, ("x^5",), "truth='x^5'"),
    (skalse_polynomial, ("",), "truth=''"),
    (skalse_polynomial, (0,), "truth=0"),
    (newton_polyhedron, ([],), "exponents=[]"),
    (newton_polyhedron, ([[2, 0], [2]],), "exponents=[[2, 0], [2]]"),
    (newton_polyhedron, ([[2, 0], [0, 0]],), "exponents[1]=[0, 0]"),
    (newton_polyhedron, ([[]],), "exponents[0]=[]"),
    (newton_polyhedron, ([[2, -1]],), "exponents[0][1]=-1"),
    (newton_polyhedron, ([[2, 0.5]],), "exponents[0][1]=0.5"),
    (newton_polyhedron, ([[2, 1]], [0]), "prior_exponents=[0]"),
    (newton_polyhedron, ([[2, 1]], [0, -1]), "prior_exponents[1]=-1"),
    (reduced_rank_local, (0, 2, 2, 0, 0, 0), "input_dim=0"),
    (reduced_rank_local, (2, 2, 2, 1, 0, 1), "rank_first=0"),
    (reduced_rank_local, (2, 2, 2, 1, 1, 0), "rank_second=0"),
    (reduced_rank_local, (2, 2, 2, 0, 3, 0), "rank_first=3"),
    (reduced_rank_local, (2, 2, 3, 0, 0, 3), "rank_second=3"),
    (reduced_rank_local, (2, 2, 2, 0, 2, 1), "rank_second=1"),
    (naive_bayes, (0, 0), "num_features=0"),
    (naive_bayes, (3, 1), "dependent_features=1"),
    (naive_bayes, (3, 4), "dependent_features=4"),
    (one_factor_analysis, (0, 0), "dim=0"),
    (one_factor_analysis, (3, 1), "nonzero_loadings=1"),
    (one_factor_analysis, (3, 4), "nonzero_loadings=4"),
    (nonnegative_factorisation, (0, 2, 1, 0), "num_rows=0"),
    (nonnegative_factorisation, (2, 0, 1, 0), "num_columns=0"),
    (nonnegative_factorisation, (2, 2, 0, 0), "hidden_dim=0"),
    (nonnegative_factorisation, (2, 3, 4, 3), "true_hidden_dim=3"),
    (surplus_unit, (0, 1, 1), "input_dim=0"),
    (surplus_unit, (1, 0, 1), "output_dim=0"),
    (surplus_unit, (1, 1, 0), "true_units=0"),
    (relu_breakpoints, (0, 0), "hidden_dim=0"),
    (relu_breakpoints, (2, -1), "breakpoints=-1"),
    (relu_breakpoints, (2, 3), "breakpoints=3"),
    (relu_slopes, (1, 2), "nonzero_slopes=2"),
    (relu_slopes, (3, 3), "nonzero_slopes=3"),
    (relu_network, ([2], [2]), "widths=[2]"),
    (relu_network, ([2, 0, 1], [2, 0, 1]), "widths[1]=0"),
    (relu_network, ([2, 3, 1], [2, 4, 1]), "true_widths=[2, 4, 1]"),
    (relu_network, ([2, 3, 1], [1, 3, 1]), "true_widths=[1, 3, 1]"),
    (relu_network, ([2, 3, 1], [2, 1]), "true_widths=[2, 1]"),
    (relu_network, ([2, 3, 1], [2, -1, 1]), "true_widths[1]=-1"),
    (power_coefficients, ([], []), "nonzero=[]"),
    (power_coefficients, ([1, 2], [True]), "nonzero=[True]"),
    (power_coefficients, ([1, 2], [True, 1]), "nonzero=[True, 1]"),
    (power_coefficients, ([1, 0], [True, True]), "powers[1]=0"),
    (superposition_polygon, (6, 3), "num_sides=3"),
    (superposition_polygon, (12, 10), "num_sides=10"),
    (superposition_polygon, (5, 6), "num_features=5"),
]


@pytest.mark.parametrize(("function", "arguments", "named"), REFUSED)
def test_refuses_and_names_the_value(function, arguments, named):
    with pytest.raises(ValueError) as error:
        function(*arguments)
    assert named in str(error.value)
    assert "allowed" in str(error.value)


@pytest.mark.parametrize("num_components", [1, 3])
def test_a_fixed_mean_needs_two_components(num_components):
    with pytest.raises(ValueError) as error:
        normal_mixture(num_components, first_mean_fixed=True)
    assert f"num_components={num_components}" in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dim": 0}, "dim=0"),
        ({"true_components": 0}, "true_components=0"),
        ({"true_components": 3}, "true_components=3"),
        ({"true_components": 2, "first_mean_fixed": True}, "true_components=2"),
    ],
)
def test_mixtures_refuse_and_name_the_value(arguments, named):
    with pytest.raises(ValueError) as error:
        normal_mixture(2, **arguments)
    assert named in str(error.value)
    assert "allowed" in str(error.value)


def test_numpy_integers_are_integers():
    assert regular(np.int64(3)) == regular(3)
    assert deep_linear(np.array([3, 2, 3]), np.int32(1)) == deep_linear([3, 2, 3], 1)
