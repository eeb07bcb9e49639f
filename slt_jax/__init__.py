"""Singular learning theory in JAX: exact and sampled Bayesian free energy of toy singular models.

The names that most uses need are here, and each brings the module that defines it when it is
first asked for:

>>> import slt_jax
>>> problem = slt_jax.named_problems()["monomial_1_1"]  # y = w₁w₂x + noise, truth 0
>>> problem.theory.learning_coefficient, problem.theory.multiplicity
(Fraction(1, 2), 2)

Importing the package does no work: JAX is not imported, and 64-bit types are never switched on.
Everything else is in the rooms of the package, for example ``from slt_jax import theory``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slt_jax.adapters.functions import define_model as define_model
    from slt_jax.adapters.numpyro_model import NumpyroModel as NumpyroModel
    from slt_jax.curves.reference import with_reference as with_reference
    from slt_jax.curves.training import TrainingSettings as TrainingSettings
    from slt_jax.data import simulate as simulate
    from slt_jax.data import statistics_of as statistics_of
    from slt_jax.estimators import Estimate as Estimate
    from slt_jax.inference.comparison import compare as compare
    from slt_jax.inference.exact import exact as exact
    from slt_jax.inference.learning_curve import learning_curve as learning_curve
    from slt_jax.inference.local_coefficient import (
        LocalLearningCoefficient as LocalLearningCoefficient,
    )
    from slt_jax.inference.local_coefficient import (
        local_learning_coefficient as local_learning_coefficient,
    )
    from slt_jax.inference.sampled import sample as sample
    from slt_jax.inference.saving import load_posterior as load_posterior
    from slt_jax.inference.saving import save_posterior as save_posterior
    from slt_jax.inference.training import train_ensemble as train_ensemble
    from slt_jax.model import FeatureRegression as FeatureRegression
    from slt_jax.model import Model as Model
    from slt_jax.model import Regression as Regression
    from slt_jax.models import load_problem as load_problem
    from slt_jax.models import named_problems as named_problems
    from slt_jax.models.shallow_net import teacher_student as teacher_student
    from slt_jax.oracles.criteria import generalisation_errors as generalisation_errors
    from slt_jax.oracles.criteria import quadrature_points as quadrature_points
    from slt_jax.oracles.criteria import training_criteria as training_criteria
    from slt_jax.oracles.criteria import wbic as wbic
    from slt_jax.oracles.evaluation import Exact as Exact
    from slt_jax.oracles.oracle import Oracle as Oracle
    from slt_jax.oracles.oracle import oracle_for as oracle_for
    from slt_jax.problem import Problem as Problem
    from slt_jax.problem import Truth as Truth
    from slt_jax.report.curve_figure import plot_learning_curve as plot_learning_curve
    from slt_jax.run.devices import use_all_cores as use_all_cores
    from slt_jax.samplers.chees import ChEESSettings as ChEESSettings
    from slt_jax.samplers.mala import MALASettings as MALASettings
    from slt_jax.samplers.microcanonical import MicrocanonicalSettings as MicrocanonicalSettings
    from slt_jax.samplers.nuts import NUTSSettings as NUTSSettings
    from slt_jax.samplers.sampling import draw_posterior as draw_posterior
    from slt_jax.samplers.sgld import SGLDSettings as SGLDSettings
    from slt_jax.samplers.smc import SMCSettings as SMCSettings
    from slt_jax.samplers.tempering import ParallelTemperingSettings as ParallelTemperingSettings
    from slt_jax.statistics import Data as Data
    from slt_jax.theory.coefficients import Theory as Theory

__version__ = "0.1.0"

_MODULE_OF = {
    "ChEESSettings": "samplers.chees",
    "Data": "statistics",
    "Estimate": "estimators",
    "Exact": "oracles.evaluation",
    "FeatureRegression": "model",
    "LocalLearningCoefficient": "inference.local_coefficient",
    "MALASettings": "samplers.mala",
    "MicrocanonicalSettings": "samplers.microcanonical",
    "Model": "model",
    "NUTSSettings": "samplers.nuts",
    "NumpyroModel": "adapters.numpyro_model",
    "Oracle": "oracles.oracle",
    "ParallelTemperingSettings": "samplers.tempering",
    "Problem": "problem",
    "Regression": "model",
    "SGLDSettings": "samplers.sgld",
    "SMCSettings": "samplers.smc",
    "Theory": "theory.coefficients",
    "TrainingSettings": "curves.training",
    "Truth": "problem",
    "compare": "inference.comparison",
    "define_model": "adapters.functions",
    "draw_posterior": "samplers.sampling",
    "exact": "inference.exact",
    "generalisation_errors": "oracles.criteria",
    "learning_curve": "inference.learning_curve",
    "load_posterior": "inference.saving",
    "load_problem": "models",
    "local_learning_coefficient": "inference.local_coefficient",
    "named_problems": "models",
    "oracle_for": "oracles.oracle",
    "plot_learning_curve": "report.curve_figure",
    "quadrature_points": "oracles.criteria",
    "sample": "inference.sampled",
    "save_posterior": "inference.saving",
    "simulate": "data",
    "statistics_of": "data",
    "teacher_student": "models.shallow_net",
    "train_ensemble": "inference.training",
    "training_criteria": "oracles.criteria",
    "use_all_cores": "run.devices",
    "wbic": "oracles.criteria",
    "with_reference": "curves.reference",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _MODULE_OF.keys())
