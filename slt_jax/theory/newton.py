"""Newton polyhedra: the pair (λ, m) of sums of monomials, and bounds for other polynomials."""

from collections.abc import Sequence
from fractions import Fraction

from slt_jax.theory.arguments import checked_integers
from slt_jax.theory.coefficients import Theory

# Equality constraints in canonical form: each row ends with its right-hand side, and the column
# basis[i] is the i-th unit vector.
_Tableau = tuple[list[list[Fraction]], list[int]]


def newton_polyhedron(
    exponents: Sequence[Sequence[int]],
    prior_exponents: Sequence[int] | None = None,
    *,
    squares: bool = False,
    nondegenerate: bool = True,
) -> Theory:
    """Return the theory of K = Σ_i w^{α_i} near w = 0 under a prior ~ ∏_j |w_j|^{h_j}.

    With the Newton polyhedron P, the convex hull of all α_i + [0, ∞)^d,

    1/λ = min{s : s(h + 1) in P} = max over v ≥ 0, v·(h + 1) = 1 of min_i v·α_i,

    and m is the codimension of the smallest face of P that holds the point s(h + 1). In words, a
    box with sides ε^{v_j} has the prior mass ε^{v·(h + 1)} and in it K ≲ ε^{min_i v·α_i}; the best
    boxes make a cone of dimension m.

    This is exact if near 0 K lies between two positive multiples of the sum of the |w^{α_i}|: for a
    sum of even monomials with positive coefficients, for a sum of squares of monomials, and for any
    polynomial K ≥ 0 that is non-degenerate, which means that the part of K on each compact face of
    P vanishes nowhere in (ℝ∖0)^d. Any other K ≥ 0 is below a multiple of the sum, so that the pair
    bounds its own from above: say ``nondegenerate=False``, and the kind is "upper bound".

    ``exponents`` are the α_i, integers ≥ 0, none of them all 0, one or more of one length d ≥ 1.
    ``prior_exponents`` are the h_j ≥ 0, d of them, or None for a prior that is positive and finite
    at 0. With ``squares`` the exponents are those of the f_i in K = Σ_i f_i², f_i = w^{α_i}, so
    that they are doubled; the f_i may also be the monomials of polynomials g_c with K = Σ_c g_c².

    Computed in exact rationals. Raises ValueError naming the argument and its value where it is
    not as above.

    Source: Arnold, Gusein-Zade and Varchenko, Singularities of Differentiable Maps, volume II
    (1988), chapter 8; Lin, Algebraic Methods for Evaluating Integrals in Bayesian Statistics
    (2011), for the role of the prior and of ideals.
    """
    points = [_checked_point(i, alpha) for i, alpha in enumerate(exponents)]
    dims = {len(point) for point in points}
    if len(dims) != 1:
        raise ValueError(f"exponents={exponents!r}; allowed: one vector or more, of one length ≥ 1")
    dim = dims.pop()
    given = [0] * dim if prior_exponents is None else prior_exponents
    orders = checked_integers("prior_exponents", given, 0)
    if len(orders) != dim:
        raise ValueError(f"prior_exponents={prior_exponents!r}; allowed: None or {dim} integers")
    power = 2 if squares else 1
    remoteness, multiplicity = _remoteness(
        [[Fraction(power * a) for a in point] for point in points],
        [Fraction(h + 1) for h in orders],
    )
    return Theory(
        learning_coefficient=1 / remoteness,
        multiplicity=multiplicity,
        kind="exact" if nondegenerate else "upper bound",
        source="Newton polyhedron, Varchenko in Arnold et al. 1988; Lin 2011",
    )


def _checked_point(i: int, alpha: Sequence[int]) -> list[int]:
    point = checked_integers(f"exponents[{i}]", alpha, 0)
    if not any(point):
        raise ValueError(f"exponents[{i}]={alpha!r}; allowed: at least one exponent > 0")
    return point


def _remoteness(points: list[list[Fraction]], ray: list[Fraction]) -> tuple[Fraction, int]:
    """Return the least s with s·ray in P, and the codimension of the smallest face that holds it.

    s·ray = Σ_i μ_i α_i + ν with Σ_i μ_i = 1 and μ, ν ≥ 0 is a linear programme in (s, μ, ν). The
    smallest face is spanned by the α_i and the unit vectors whose weights are positive in some
    solution.
    """
    dim, count = len(ray), len(points)
    rows = [
        [-ray[j], *(point[j] for point in points), *(Fraction(j == k) for k in range(dim))]
        + [Fraction(0)]
        for j in range(dim)
    ]
    rows.append([Fraction(0)] + [Fraction(1)] * count + [Fraction(0)] * dim + [Fraction(1)])
    # All weight on the first point, and the least s that dominates it, is a vertex to begin with.
    first = max(range(dim), key=lambda j: points[0][j] / ray[j])
    basis = [0 if j == first else 1 + count + j for j in range(dim)] + [1]
    tableau = rows, basis
    for row, column in [(first, 0), (dim, 1)]:
        _pivot(tableau, row, column)
    size = 1 + count + dim
    everything = set(range(size))
    cost = _minimise(tableau, 0, everything, sign=1)
    remoteness = _values(tableau)[0]

    # A column that costs something is 0 in every solution.
    free = {k for k in everything if cost[k] == 0} | set(basis)
    spanning = {k for k, x in _values(tableau).items() if x > 0}
    for k in sorted(free - spanning):
        _minimise(tableau, k, free, sign=-1)
        spanning |= {k for k, x in _values(tableau).items() if x > 0}
    vertices = [points[k - 1] for k in sorted(spanning) if 1 <= k <= count]
    directions = [[a - b for a, b in zip(v, vertices[0], strict=True)] for v in vertices[1:]]
    directions += [
        [Fraction(j == k - 1 - count) for j in range(dim)] for k in spanning if k > count
    ]
    return remoteness, dim - _rank(directions)


def _values(tableau: _Tableau) -> dict[int, Fraction]:
    rows, basis = tableau
    return {column: row[-1] for row, column in zip(rows, basis, strict=True)}


def _pivot(tableau: _Tableau, row: int, column: int) -> None:
    rows, basis = tableau
    rows[row] = [x / rows[row][column] for x in rows[row]]
    for i, other in enumerate(rows):
        if i != row and other[column] != 0:
            rows[i] = [x - other[column] * y for x, y in zip(other, rows[row], strict=True)]
    basis[row] = column


def _minimise(tableau: _Tableau, target: int, allowed: set[int], sign: int) -> list[Fraction]:
    """Minimise sign · x_target over the ``allowed`` columns, and return the reduced costs.

    This is the simplex method with Bland's rule, which cannot cycle. All minima here are finite: s
    is bounded below by 0, μ by the simplex, and ν by s·ray.
    """
    rows, basis = tableau
    while True:
        cost = [Fraction(sign * (k == target)) for k in range(len(rows[0]) - 1)]
        for row, column in zip(rows, basis, strict=True):
            if column == target:
                cost = [c - sign * x for c, x in zip(cost, row, strict=False)]
        entering = min((k for k in allowed if cost[k] < 0), default=None)
        if entering is None:
            return cost
        leaving = min(
            (i for i, row in enumerate(rows) if row[entering] > 0),
            key=lambda i: (rows[i][-1] / rows[i][entering], basis[i]),
        )
        _pivot(tableau, leaving, entering)


def _rank(vectors: list[list[Fraction]]) -> int:
    """Return the rank over the rationals, by elimination."""
    rank = 0
    while vectors:
        pivot = vectors.pop()
        lead = next((j for j, x in enumerate(pivot) if x != 0), None)
        if lead is None:
            continue
        rank += 1
        vectors = [
            [x - v[lead] / pivot[lead] * y for x, y in zip(v, pivot, strict=True)] for v in vectors
        ]
    return rank
