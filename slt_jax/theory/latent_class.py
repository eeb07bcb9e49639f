"""One hidden variable that explains the dependence of several observed ones."""

from fractions import Fraction

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory


def naive_bayes(num_features: int, dependent_features: int) -> Theory:
    """Return the theory of n binary features that are independent given a hidden binary class.

    If c of the features depend on one another in the truth and the others on nothing:

    1. c = 0: λ = (n + 1)/2 and m = 1, but m = 3 if n = 2 and λ = 1/2 if n = 1;
    2. c = 2: λ = (2n − 1)/2, m = 1;
    3. c ≥ 3: λ = (2n + 1)/2, m = 1, the regular value.

    ``num_features`` is n ≥ 1 and ``dependent_features`` is c, 0 or 2 to n. The truth has the same
    form, with all probabilities inside (0, 1), and the prior is positive and finite on
    [0, 1]^{2n + 1}. Raises ValueError naming the argument and its value otherwise.

    Source: Rusakov and Geiger, Asymptotic model selection for naive Bayesian networks, Journal of
    Machine Learning Research 6 (2005) 1-35, theorem 4. Elementary too: with class probabilities
    a and 1 − a and differences u_i of the two conditional probabilities, the covariances are
    a(1 − a)u_i u_j, and moments of higher order are at most multiples of them near c = 0. There
    K is a sum of n regular terms and of those (a(1 − a)u_i u_j)², see ``newton_polyhedron``. With
    c = 2 the one covariance and the other u_k are regular directions besides.
    """
    n = checked_integer("num_features", num_features, 1)
    c = checked_integer("dependent_features", dependent_features, 0)
    if c == 1 or c > n:
        raise ValueError(f"dependent_features={c}; allowed: 0, or 2 to num_features={n}")
    source = "Rusakov and Geiger 2005, theorem 4"
    if c == 0:
        coefficient = Fraction(n + 1, 2) if n > 1 else Fraction(1, 2)
        return Theory(coefficient, 3 if n == 2 else 1, "exact", source)
    return Theory(Fraction(2 * n + (-1 if c == 2 else 1), 2), 1, "exact", source)


def one_factor_analysis(dim: int, nonzero_loadings: int) -> Theory:
    """Return the theory of N(0, Ψ + bbᵀ), Ψ diagonal, b in ℝ^p: factor analysis with one factor.

    If c loadings are not 0 in the truth, after c = 1 has been absorbed in Ψ as c = 0:

    1. c = 0: λ = 3p/4 and m = 1, but (3/2, 2) if p = 2 and (1/2, 1) if p = 1;
    2. c = 2: λ = (2p − 1)/2, m = 1;
    3. c ≥ 3: λ = p, m = 1, the regular value.

    ``dim`` is p ≥ 1 and ``nonzero_loadings`` is c, 0 or 2 to p. Ψ is positive and the prior
    positive and finite on the true parameters. Raises ValueError naming the argument and its value
    otherwise.

    Source: Drton, Lin, Weihs and Zwiernik, Marginal likelihood and model selection for Gaussian
    latent tree and forest models, Bernoulli 23 (2017) 1202-1232, for sums of squared differences
    between monomials and constants. Here K is between two positive multiples of p regular terms
    and of Σ_{i<j} (b_i b_j − s_ij)², s the true covariances. With c = 0 this is
    ``newton_polyhedron``; with c = 2 the one covariance and the other b_k are regular directions;
    with c ≥ 3 all b_i are.
    """
    p = checked_integer("dim", dim, 1)
    c = checked_integer("nonzero_loadings", nonzero_loadings, 0)
    if c == 1 or c > p:
        raise ValueError(f"nonzero_loadings={c}; allowed: 0, or 2 to dim={p}")
    source = "monomials of the covariance, Drton, Lin, Weihs and Zwiernik 2017"
    if c == 0:
        coefficient = Fraction(3 * p, 4) if p > 1 else Fraction(1, 2)
        return Theory(coefficient, 2 if p == 2 else 1, "exact", source)
    return Theory(Fraction(2 * p - (c == 2), 2), 1, "exact", source)
