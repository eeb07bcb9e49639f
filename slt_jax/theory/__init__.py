"""Learning coefficients and multiplicities that are known, each with its source."""

from slt_jax.theory.coefficients import Theory, product_of, sum_of
from slt_jax.theory.deep_linear import deep_linear
from slt_jax.theory.mixtures import normal_mixture
from slt_jax.theory.monomial import monomial
from slt_jax.theory.polynomials import skalse_polynomial
from slt_jax.theory.reduced_rank import rank_one_factorisation, reduced_rank
from slt_jax.theory.regular import regular
from slt_jax.theory.shallow_nets import relu_zero_truth, tanh_zero_truth, vandermonde

__all__ = [
    "Theory",
    "deep_linear",
    "monomial",
    "normal_mixture",
    "product_of",
    "rank_one_factorisation",
    "reduced_rank",
    "regular",
    "relu_zero_truth",
    "skalse_polynomial",
    "sum_of",
    "tanh_zero_truth",
    "vandermonde",
]
