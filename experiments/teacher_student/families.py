"""Families of nets: their teachers, the students of these, and what theorems say of both."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slt_jax import theory
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.models.relu_net import BiasedReluNet, ReluNet
from slt_jax.models.tanh_net import TanhNet
from slt_jax.problem import Problem
from slt_jax.theory import Theory

INPUTS, FEW_INPUTS = 6, 2
# Of steeper units than the teachers' own, |b| = 6, the interpolant is off by 1e-4.
NODES = 20

Params = dict[str, np.ndarray]


@dataclass(frozen=True)
class Family:
    """Nets of one kind.

    ``known`` maps H₀ and H to the theory of a student of H units, or to None; ``model`` makes the
    student of H units and ``teacher`` the parameters of one of H₀ units at a spacing, the others of
    H being zero, and both are None where theory is all there is. ``widest_teacher`` bounds H₀.
    ``block`` names the parameters that are integrated out of samples, None where an oracle answers
    in a moment. The nets of six inputs are left to theory: runs of SMC on their 24 weights without
    the output ones disagree by nats from n = 100 on.
    """

    name: str
    slug: str
    known: Callable[[int, int], Theory | None]
    widest_teacher: int
    model: Callable[[int, float], Any] | None = None
    teacher: Callable[[int, int, float], Params] | None = None
    block: str | None = None


@functools.cache
def problem_of(slug: str, teacher: int, student: int, spacing: float, noise: float) -> Problem:
    """Make the problem in which the student learns the teacher, one object for equal arguments."""
    family = FAMILIES[slug]
    assert family.model is not None
    assert family.teacher is not None
    return Problem(
        f"{slug}_{teacher}_in_{student}_spacing_{spacing:g}",
        family.model(student, noise),
        family.teacher(teacher, student, spacing),
        family.known(teacher, student),
        showcase=False,
    )


def _known_linear(inputs: int) -> Callable[[int, int], Theory | None]:
    return lambda teacher, student: theory.reduced_rank(inputs, INPUTS, student, teacher)


def _known_tanh(teacher: int, student: int) -> Theory | None:
    if teacher == 0:
        return theory.tanh_zero_truth(student)
    if teacher == student:
        return theory.regular(2 * student)
    if teacher == student - 1:
        return theory.surplus_unit(1, 1, teacher)
    return None


def _known_relu(teacher: int, student: int) -> Theory:
    """Units of alternating signs make one slope, then two, and never more."""
    return theory.relu_slopes(student, min(teacher, 2))


def _known_biased(teacher: int, student: int) -> Theory:
    return theory.relu_breakpoints(student, teacher)


def _ones(teacher: int, student: int) -> np.ndarray:
    return np.where(np.arange(student) < teacher, 1.0, 0.0)


def _linear_teacher(inputs: int) -> Callable[[int, int, float], Params]:
    def teacher_of(teacher: int, student: int, spacing: float) -> Params:
        roots = _ones(teacher, student) * np.sqrt(spacing * np.arange(1, student + 1))
        return {
            "A": roots[:, None] * np.eye(student, inputs),
            "B": np.eye(INPUTS, student) * roots,
        }

    return teacher_of


def _tanh_teacher(teacher: int, student: int, spacing: float) -> Params:
    on = _ones(teacher, student)
    return {"a": on, "b": on * spacing * np.arange(1, student + 1)}


def _relu_teacher(teacher: int, student: int, spacing: float) -> Params:
    plain = _tanh_teacher(teacher, student, spacing)
    return {"a": plain["a"], "b": plain["b"] * (-1.0) ** np.arange(student)}


def _biased_teacher(teacher: int, student: int, spacing: float) -> Params:
    on = _ones(teacher, student)
    breakpoints = spacing / 2 * (np.arange(student) - (teacher - 1) / 2)
    return {"a": on, "b": on, "c": -on * breakpoints}


FAMILIES: Mapping[str, Family] = {
    family.slug: family
    for family in (
        Family("linear, 6-H-6", "linear", _known_linear(INPUTS), INPUTS),
        Family(
            "linear, 2-H-6", "linear_2", _known_linear(FEW_INPUTS), FEW_INPUTS,
            lambda student, noise: ReducedRankRegression(
                input_dim=FEW_INPUTS, output_dim=INPUTS, hidden_dim=student, noise=noise
            ),
            _linear_teacher(FEW_INPUTS),
        ),
        Family(
            "tanh", "tanh", _known_tanh, INPUTS,
            lambda student, noise: TanhNet(hidden_dim=student, noise=noise, num_nodes=NODES),
            _tanh_teacher, "a",
        ),
        Family(
            "ReLU", "relu", _known_relu, INPUTS,
            lambda student, noise: ReluNet(hidden_dim=student, noise=noise, uniform_input=True),
            _relu_teacher,
        ),
        Family(
            "biased ReLU", "biased_relu", _known_biased, INPUTS,
            lambda student, noise: BiasedReluNet(
                hidden_dim=student, noise=noise, uniform_input=True
            ),
            _biased_teacher, "a",
        ),
    )
}  # fmt: skip
