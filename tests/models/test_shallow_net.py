"""Activations and their limits, and teachers inside students."""

import dataclasses

import jax
import numpy as np
import pytest

from slt_jax.models import load_problem
from slt_jax.models.shallow_net import ShallowNet, teacher_student, with_teacher
from slt_jax.shapes import datum_of

Z = np.linspace(-3, 3, 25)
SIGMA = {
    "tanh": lambda z, k: np.tanh(k * z) / k,
    "relu": lambda z, k: np.maximum(z, 0),
    "silu": lambda z, k: z / (1 + np.exp(-k * z)),
    "softplus": lambda z, k: np.logaddexp(0, k * z) / k,
}


@pytest.mark.parametrize("activation", SIGMA)
@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_prediction_by_hand(activation, sharpness):
    net = ShallowNet(
        input_dim=2, hidden_dim=2, output_dim=2, activation=activation, biases=True,
        sharpness=sharpness,
    )  # fmt: skip
    a, b, c = np.array([[1.0, -2.0], [0.5, 0.3]]), np.array([[1.0, 2.0], [-1.0, 0.5]]), [0.2, -0.4]
    x = np.array([0.7, -1.1])
    expected = a @ SIGMA[activation](b @ x + c, sharpness)
    with jax.enable_x64(True):
        predicted = net.predict({"a": a, "b": b, "c": np.array(c)}, x)
    np.testing.assert_allclose(predicted, expected, rtol=1e-13)


@pytest.mark.parametrize(("activation", "largest"), [("softplus", np.log(2)), ("silu", 0.2785)])
def test_sharp_activations_tend_to_relu(activation, largest):
    """sup|σ_k − relu| is ``largest``/k: at z = 0 of softplus, log 2; of silu, max z/(1 + e^z)."""
    for k in (1.0, 10.0, 100.0):
        net = ShallowNet(activation=activation, sharpness=k)
        with jax.enable_x64(True):
            gap = np.max(np.abs(net.activate(Z / k) - np.maximum(Z / k, 0)))
        assert 0.9 * largest / k < gap <= largest / k * (1 + 1e-4)


TEACHER = ShallowNet(hidden_dim=1, activation="silu")
UNIT = {"a": np.array([[1.5]]), "b": np.array([[0.7]])}


def test_embedding_is_the_same_function():
    student = ShallowNet(hidden_dim=3, activation="silu", biases=True)
    embedded = student.embedding(TEACHER, UNIT)
    assert {name: leaf.shape for name, leaf in embedded.items()} == {
        "a": (1, 3), "b": (3, 1), "c": (3,)
    }  # fmt: skip
    for x in Z:
        x = np.array([x])
        with jax.enable_x64(True):
            assert student.predict(embedded, x) == TEACHER.predict(UNIT, x)


@pytest.mark.parametrize(
    "student",
    [
        ShallowNet(hidden_dim=2, activation="tanh"),
        ShallowNet(hidden_dim=2, activation="silu", sharpness=2.0),
        ShallowNet(hidden_dim=2, activation="silu", input_dim=2),
        ShallowNet(hidden_dim=2, activation="silu", output_dim=2),
        ShallowNet(hidden_dim=0, activation="silu"),
    ],
)
def test_teachers_that_do_not_embed_are_refused(student):
    with pytest.raises(ValueError, match="does not embed"):
        student.embedding(TEACHER, UNIT)


@pytest.mark.parametrize("field", [{"noise": 0.5}, {"uniform_input": True}])
def test_other_data_are_refused(field):
    with pytest.raises(ValueError, match="same inputs and noise"):
        with_teacher("x", ShallowNet(activation="silu", **field), TEACHER, UNIT, "")


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"activation": "elu"}, "elu"), ({"sharpness": 0.0}, "0.0"), ({"sharpness": np.nan}, "nan")],
)
def test_impossible_models_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ShallowNet(**fields)


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (ShallowNet(input_dim=3, hidden_dim=1, activation="relu"), (1 / 2, 1)),
        (ShallowNet(input_dim=2, hidden_dim=1, output_dim=2, activation="silu"), (1, 2)),
        (ShallowNet(hidden_dim=1, activation="softplus"), None),
        (ShallowNet(hidden_dim=1, biases=True), None),
        (ShallowNet(hidden_dim=2), None),
    ],
)
def test_theory_of_one_unit(net, expected):
    """|a|²|b|² where σ(0) = 0; not where softplus or a bias keep the unit alive at b = 0."""
    empty = dataclasses.replace(net, hidden_dim=0, biases=False)
    known = with_teacher("zero", net, empty, {}, "").theory
    pair = known and (float(known.learning_coefficient), known.multiplicity)
    assert pair == expected


@pytest.mark.parametrize("activation", SIGMA)
def test_teacher_and_student_of_any_widths(activation):
    """Units are distinct, and those of the teacher are the student's first."""
    problem = teacher_student(
        activation, 3, 5, input_dim=2, output_dim=2, biases=True, noise=0.5, seed=3
    )
    assert problem.name == (
        f"teacher_student_{activation}_3_5_input_dim_2_output_dim_2_biases_true_noise_0_5_seed_3"
    )
    b, a = problem.optimum["b"], problem.optimum["a"]
    np.testing.assert_allclose(np.linalg.norm(b, axis=1), [0.5, 1.0, 1.5, 0, 0])
    np.testing.assert_allclose(np.linalg.norm(a, axis=0), [1, 1, 1, 0, 0])
    assert (problem.model.noise, problem.model.hidden_dim) == (0.5, 5)
    assert problem.realisable
    assert datum_of(problem).y.shape == (2,)


def test_a_teacher_of_no_units_is_the_zero_function():
    problem = teacher_student("relu", 0, 1)
    assert not any(np.any(leaf) for leaf in problem.optimum.values())
    assert problem.theory.multiplicity == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("teacher_student(relu,4,3)", "teacher_width = 4: must be ≤ student_width = 3"),
        ("teacher_student(relu,1,0)", "student_width = 0: must be an integer ≥ 1"),
        ("teacher_student(relu,-1,3)", "teacher_width = -1: must be an integer ≥ 0"),
        ("teacher_student(elu,1,3)", "activation = 'elu': must be one of tanh, relu, silu"),
        ("teacher_student(relu,1,3,noise=0)", "noise = 0: must be a number > 0"),
        ("teacher_student(relu,1,3,depth=2)", "unexpected keyword argument 'depth'"),
        ("teacher_student", r"needs arguments, as teacher_student\(activation"),
        ("teacher_studnet(relu,1,3)", r"no function .*; did you mean teacher_student\?"),
    ],
)
def test_impossible_pairs_are_refused(spec, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_problem(spec)
    assert "\n" not in str(caught.value)
