from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest

from slt_jax.theory import (
    monomial,
    naive_bayes,
    newton_polyhedron,
    one_factor_analysis,
    product_of,
    rank_one_factorisation,
    regular,
    sum_of,
    tanh_zero_truth,
)


def value(theory):
    return theory.learning_coefficient, theory.multiplicity


def solved(equations: list[list[Fraction]]) -> list[Fraction] | None:
    """The unique solution of square linear equations with the right-hand side last, or None."""
    rows, size = [row[:] for row in equations], len(equations)
    for column in range(size):
        pivot = next((i for i in range(column, size) if rows[i][column] != 0), None)
        if pivot is None:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for i in range(size):
            if i != column:
                factor = rows[i][column] / rows[column][column]
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[column], strict=True)]
    return [rows[i][-1] / rows[i][i] for i in range(size)]


def best_boxes(points: list[list[int]], ray: list[int]) -> tuple[Fraction, int]:
    """The dual: all boxes e^v, v ≥ 0 and v.ray = 1, that are vertices in (v, min_i v.α_i).

    The largest minimum is 1/λ; the boxes that attain it span a face of dimension m − 1.
    """
    dim = len(ray)
    planes = [[Fraction(j == k) for k in range(dim)] + [Fraction(0)] * 2 for j in range(dim)]
    planes += [[*map(Fraction, point), Fraction(-1), Fraction(0)] for point in points]
    scale = [*map(Fraction, ray), Fraction(0), Fraction(1)]
    vertices = set()
    for chosen in combinations(planes, dim):
        corner = solved([*chosen, scale])
        if corner is None:
            continue
        v, depth = corner[:-1], corner[-1]
        if min(v) >= 0 and depth == min(sum(map(lambda x, a: x * a, v, p)) for p in points):
            vertices.add((depth, *v))
    depth = max(vertices)[0]
    best = np.array([v for d, *v in vertices if d == depth], dtype=float)
    return 1 / depth, 1 + int(np.linalg.matrix_rank(best - best[0]))


def test_against_all_vertices_of_the_dual():
    rng = np.random.default_rng(0)
    for _ in range(60):
        dim, count = rng.integers(1, 4), rng.integers(1, 5)
        points = rng.integers(0, 5, size=(count, dim)).tolist()
        points = [point for point in points if any(point)] or [[1] * int(dim)]
        orders = rng.integers(0, 3, size=dim).tolist()
        expected = best_boxes(points, [h + 1 for h in orders])
        assert value(newton_polyhedron(points, orders)) == expected


@pytest.mark.parametrize(
    ("exponents", "expected"),
    [
        ([[2]], (Fraction(1, 2), 1)),
        ([[2, 0], [0, 2]], (Fraction(1), 1)),
        ([[4, 0], [0, 6]], (Fraction(5, 12), 1)),
        # The diagonal meets P at the vertex (2, 2), then in the middle of an edge.
        ([[2, 2], [6, 0], [0, 6]], (Fraction(1, 2), 2)),
        ([[2, 2], [3, 0], [0, 3]], (Fraction(2, 3), 1)),
        # ... and at a vertex of P that is not a monomial that stands alone.
        ([[2, 2, 0], [0, 2, 2], [2, 0, 2]], (Fraction(3, 4), 1)),
        ([[2, 2, 2], [8, 0, 0]], (Fraction(1, 2), 3)),
    ],
)
def test_by_hand(exponents, expected):
    assert value(newton_polyhedron(exponents)) == expected
    assert newton_polyhedron(exponents).kind == "exact"
    assert value(newton_polyhedron(exponents[::-1])) == expected


def test_monomials_under_any_prior():
    for powers in product(range(3), repeat=3):
        if any(powers):
            for orders in product(range(2), repeat=3):
                expected = value(monomial(powers, orders))
                assert value(newton_polyhedron([powers], orders, squares=True)) == expected
                doubled = [2 * k for k in powers]
                assert value(newton_polyhedron([doubled], orders)) == expected


def test_sums_and_products_of_monomials():
    monomials = [(1,), (2,), (1, 1), (1, 2), (2, 1, 2)]
    for a, b in product(monomials, repeat=2):
        theories = monomial(a), monomial(b)
        apart = [(*a, *[0] * len(b)), (*[0] * len(a), *b)]
        assert value(newton_polyhedron(apart, squares=True)) == value(sum_of(*theories))
        assert value(newton_polyhedron([a + b], squares=True)) == value(product_of(*theories))


def test_ideals_of_other_theorems():
    assert value(newton_polyhedron([[1, 1]], squares=True)) == value(tanh_zero_truth(1))
    for n, m in product(range(1, 4), repeat=2):
        unit = np.eye(n + m, dtype=int)
        entries = [(unit[i] + unit[n + j]).tolist() for i in range(n) for j in range(m)]
        expected = value(rank_one_factorisation(n, m))
        assert value(newton_polyhedron(entries, squares=True)) == expected
    for n in range(2, 6):
        unit = np.eye(n, dtype=int)
        pairs = [(unit[i] + unit[j]).tolist() for i, j in combinations(range(n), 2)]
        loadings = newton_polyhedron(pairs, squares=True)
        assert value(sum_of(regular(n), loadings)) == value(one_factor_analysis(n, 0))
        covariances = newton_polyhedron([[1, *pair] for pair in pairs], squares=True)
        assert value(sum_of(regular(n), covariances)) == value(naive_bayes(n, 0))


def test_a_dominated_monomial_changes_nothing():
    for exponents in ([[2, 2], [6, 0]], [[4, 0], [0, 6]], [[1, 2], [3, 1]]):
        expected = value(newton_polyhedron(exponents))
        for extra in ([1, 0], [0, 3], [2, 2]):
            further = [a + b for a, b in zip(exponents[0], extra, strict=True)]
            assert value(newton_polyhedron([*exponents, further])) == expected


def test_a_degenerate_polynomial_is_bounded():
    # (x − y)² + x⁶ is y² + x⁶ in other coordinates.
    bound = newton_polyhedron([[2, 0], [1, 1], [0, 2], [6, 0]], nondegenerate=False)
    exact = newton_polyhedron([[0, 2], [6, 0]])
    assert bound.kind == "upper bound"
    assert bound.learning_coefficient > exact.learning_coefficient
