"""Exact answers at finite n: log Z of weighted data, with a bound on its error."""

from slt_jax.oracles.criteria import (
    GeneralisationErrors,
    PointwiseMoments,
    TrainingCriteria,
    generalisation_errors,
    pointwise_moments,
    training_criteria,
    wbic,
)
from slt_jax.oracles.exact import Exact
from slt_jax.oracles.expectation import HeldOut, quadrature_points, simulated_points
from slt_jax.oracles.oracle import ExactMoments, Oracle, oracle_for

__all__ = [
    "Exact",
    "ExactMoments",
    "GeneralisationErrors",
    "HeldOut",
    "Oracle",
    "PointwiseMoments",
    "TrainingCriteria",
    "generalisation_errors",
    "oracle_for",
    "pointwise_moments",
    "quadrature_points",
    "simulated_points",
    "training_criteria",
    "wbic",
]
