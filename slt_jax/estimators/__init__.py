"""Estimators of the theory's quantities: pure functions of arrays, each with a standard error."""

from slt_jax.estimators.accumulator import LossAccumulator, LossMoments, loss_moments
from slt_jax.estimators.calibration import Calibration, calibrate
from slt_jax.estimators.chains import (
    delta_method,
    delta_method_blocks,
    mean_over_chains,
    with_step_bias,
)
from slt_jax.estimators.coefficients import (
    Growth,
    energy_variance_coefficient,
    generalisation_coefficient,
    growth,
    slope_coefficient,
    two_temperature_coefficient,
    wbic_coefficient,
)
from slt_jax.estimators.criteria import bic, sbic, wbic
from slt_jax.estimators.estimate import (
    Basis,
    ErrorSources,
    Estimate,
    in_standard_errors,
    log_mean_over_seeds,
    mean_over_data_sets,
    mean_over_seeds,
    monte_carlo_mean,
    p_value_of_largest,
)
from slt_jax.estimators.fluctuations import (
    bayes_fluctuation,
    gibbs_fluctuation,
    variance_fluctuation,
)
from slt_jax.estimators.free_energy import (
    free_energy_from_evidence,
    integrate_path,
    thermodynamic_integration,
)
from slt_jax.estimators.ladder import BennettRatios, ladder_integration, multistate_bennett
from slt_jax.estimators.local import local_learning_coefficient, local_scan
from slt_jax.estimators.losses import (
    bayes_generalisation_loss,
    bayes_training_loss,
    energy_effective_sample_size,
    energy_variance,
    functional_variance,
    gibbs_generalisation_loss,
    gibbs_training_loss,
    leave_one_out_loss,
    log_predictive_density,
    waic,
)
from slt_jax.estimators.power_law import Interval, PowerLaw, fit_power_law, local_exponents
from slt_jax.estimators.ranks import RankUniformity, rank_uniformity
from slt_jax.estimators.scaling import volume_coefficient
from slt_jax.estimators.selection import best_of
from slt_jax.estimators.smoothing import (
    LeaveOneOut,
    SmoothedWeights,
    pareto_fit,
    smoothed_leave_one_out,
    smoothed_weights,
)
from slt_jax.estimators.two_samples import (
    TwoSampleTest,
    classifier_two_sample,
    energy_distance,
)

__all__ = [
    "Basis",
    "BennettRatios",
    "Calibration",
    "ErrorSources",
    "Estimate",
    "Growth",
    "Interval",
    "LeaveOneOut",
    "LossAccumulator",
    "LossMoments",
    "PowerLaw",
    "RankUniformity",
    "SmoothedWeights",
    "TwoSampleTest",
    "bayes_fluctuation",
    "bayes_generalisation_loss",
    "bayes_training_loss",
    "best_of",
    "bic",
    "calibrate",
    "classifier_two_sample",
    "energy_distance",
    "energy_effective_sample_size",
    "energy_variance",
    "energy_variance_coefficient",
    "fit_power_law",
    "free_energy_from_evidence",
    "functional_variance",
    "generalisation_coefficient",
    "gibbs_fluctuation",
    "gibbs_generalisation_loss",
    "gibbs_training_loss",
    "growth",
    "in_standard_errors",
    "p_value_of_largest",
    "integrate_path",
    "ladder_integration",
    "leave_one_out_loss",
    "log_predictive_density",
    "local_exponents",
    "local_learning_coefficient",
    "local_scan",
    "log_mean_over_seeds",
    "loss_moments",
    "mean_over_chains",
    "mean_over_data_sets",
    "mean_over_seeds",
    "monte_carlo_mean",
    "multistate_bennett",
    "pareto_fit",
    "delta_method",
    "delta_method_blocks",
    "rank_uniformity",
    "sbic",
    "slope_coefficient",
    "smoothed_leave_one_out",
    "smoothed_weights",
    "thermodynamic_integration",
    "two_temperature_coefficient",
    "variance_fluctuation",
    "volume_coefficient",
    "waic",
    "wbic",
    "wbic_coefficient",
    "with_step_bias",
]
