"""Estimators of the theory's quantities: pure functions of arrays, each with a standard error."""

from slt_jax.estimators.calibration import Calibration, calibrate
from slt_jax.estimators.coefficients import (
    energy_variance_coefficient,
    slope_coefficient,
    two_temperature_coefficient,
    wbic_coefficient,
)
from slt_jax.estimators.criteria import bic
from slt_jax.estimators.estimate import (
    Estimate,
    mean_over_data_sets,
    mean_over_seeds,
    monte_carlo_mean,
)
from slt_jax.estimators.free_energy import (
    free_energy_from_evidence,
    integrate_path,
    thermodynamic_integration,
)

__all__ = [
    "Calibration",
    "Estimate",
    "bic",
    "calibrate",
    "energy_variance_coefficient",
    "free_energy_from_evidence",
    "integrate_path",
    "mean_over_data_sets",
    "mean_over_seeds",
    "monte_carlo_mean",
    "slope_coefficient",
    "thermodynamic_integration",
    "two_temperature_coefficient",
    "wbic_coefficient",
]
