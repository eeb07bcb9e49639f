"""Exact answers at finite n: log Z of weighted data, with a bound on its error."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slt_jax.oracles.criteria import (
        GeneralisationErrors,
        HeldOut,
        PointwiseMoments,
        TrainingCriteria,
        generalisation_errors,
        pointwise_moments,
        quadrature_points,
        simulated_points,
        training_criteria,
        wbic,
    )
    from slt_jax.oracles.evaluation import Exact
    from slt_jax.oracles.oracle import ExactMoments, Oracle, oracle_for

# Loaded when they are asked for: models import the laws, and the oracles import models.
_MODULES = {
    "Exact": "evaluation",
    "ExactMoments": "oracle",
    "GeneralisationErrors": "criteria",
    "HeldOut": "criteria",
    "Oracle": "oracle",
    "PointwiseMoments": "criteria",
    "TrainingCriteria": "criteria",
    "generalisation_errors": "criteria",
    "oracle_for": "oracle",
    "pointwise_moments": "criteria",
    "quadrature_points": "criteria",
    "simulated_points": "criteria",
    "training_criteria": "criteria",
    "wbic": "criteria",
}

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


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
