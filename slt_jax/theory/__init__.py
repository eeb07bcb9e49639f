"""Learning coefficients and multiplicities that are known, each with its source."""

from slt_jax.theory.coefficients import Theory, product_of, sum_of
from slt_jax.theory.deep_linear import deep_linear
from slt_jax.theory.evidence import log_evidence
from slt_jax.theory.latent_class import naive_bayes, one_factor_analysis
from slt_jax.theory.mixtures import normal_mixture
from slt_jax.theory.monomial import monomial
from slt_jax.theory.newton import newton_polyhedron
from slt_jax.theory.nonnegative import nonnegative_factorisation
from slt_jax.theory.polynomials import power_coefficients, skalse_polynomial
from slt_jax.theory.reduced_rank import rank_one_factorisation, reduced_rank, reduced_rank_local
from slt_jax.theory.regular import regular
from slt_jax.theory.relu_nets import relu_breakpoints, relu_network, relu_slopes
from slt_jax.theory.scaling import Check, Measurement, Scaling, check, measure
from slt_jax.theory.shallow_nets import (
    relu_zero_truth,
    surplus_unit,
    tanh_zero_truth,
    vandermonde,
)
from slt_jax.theory.superposition import superposition_polygon
from slt_jax.theory.volume import volume_scaling

__all__ = [
    "Check",
    "Measurement",
    "Scaling",
    "Theory",
    "check",
    "deep_linear",
    "log_evidence",
    "measure",
    "monomial",
    "naive_bayes",
    "newton_polyhedron",
    "nonnegative_factorisation",
    "normal_mixture",
    "one_factor_analysis",
    "power_coefficients",
    "product_of",
    "rank_one_factorisation",
    "reduced_rank",
    "reduced_rank_local",
    "regular",
    "relu_breakpoints",
    "relu_network",
    "relu_slopes",
    "relu_zero_truth",
    "skalse_polynomial",
    "sum_of",
    "superposition_polygon",
    "surplus_unit",
    "tanh_zero_truth",
    "vandermonde",
    "volume_scaling",
]
