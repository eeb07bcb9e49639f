"""Nets of one hidden layer with any widths, with or without biases, and any of four activations."""

import functools
import inspect
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from slt_jax import theory
from slt_jax.model import Regression
from slt_jax.oracles.interpolation import Strip
from slt_jax.oracles.laws.box import normal_coordinate
from slt_jax.oracles.laws.breakpoints import BreakpointsLatent
from slt_jax.oracles.laws.cuts import REACH
from slt_jax.oracles.laws.units import UnitsLatent
from slt_jax.oracles.structures import LinearBlock
from slt_jax.problem import Problem
from slt_jax.statistics import Params
from slt_jax.validation import Count, Positive, Size, check

# Distance to the real axis of the nearest singularity of smooth activations.
SINGULARITY = {"tanh": np.pi / 2, "silu": np.pi, "softplus": np.pi}
# In prior scales. Of two inputs pseudo-data are as many as its square; steeper units lose digits
# that their prior makes up for: 1e-13 of n at 4.5, 5e-11 at 6, where it is e^−18 of its peak.
REACH_IN_PLANE = 3.5
MOST_WEIGHTS = 4

Activation = Literal["tanh", "relu", "silu", "softplus"]


@dataclass(frozen=True, kw_only=True)
class ShallowNet(Regression):
    """A net with one hidden layer of any width, with or without biases.

    f(x) = Σ_{h≤H} a_h σ_k(b_hᵀx + c_h), all parameters N(0, prior_scale²).
    σ_k(z) = σ(kz)/k with k the ``sharpness`` and σ tanh, relu, silu: z/(1 + e^{−z}), or
    softplus: log(1 + e^z); the last two tend to relu as k grows, which is itself at every k.
    ``a`` [output_dim, H], ``b`` [H, input_dim], and with ``biases`` ``c`` [H].
    x ~ N(0, I), or U[−1, 1]^input_dim with ``uniform_input``.
    """

    input_dim: Count = 1
    hidden_dim: Size = 2
    output_dim: Count = 1
    activation: Activation = "tanh"
    biases: bool = False
    sharpness: Positive = 1.0
    prior_scale: Positive = 1.0
    uniform_input: bool = False

    def priors(self) -> dict[str, dist.Distribution]:
        weight = dist.Normal(0.0, self.prior_scale)
        shapes = {
            "a": (self.output_dim, self.hidden_dim),
            "b": (self.hidden_dim, self.input_dim),
            "c": (self.hidden_dim,),
        }
        return {name: weight.expand(shapes[name]) for name in ("abc" if self.biases else "ab")}

    def sample_input(self, key: Array) -> Array:
        if self.uniform_input:
            return jax.random.uniform(key, (self.input_dim,), minval=-1.0, maxval=1.0)
        return jax.random.normal(key, (self.input_dim,))

    def input_distribution(self) -> dist.Distribution:
        one = dist.Uniform(-1.0, 1.0) if self.uniform_input else dist.Normal(0.0, 1.0)
        return one.expand((self.input_dim,))

    def predict(self, params: Params, x: Array) -> Array:
        hidden = jnp.einsum("hi,i->h", params["b"], x)
        if self.biases:
            hidden = hidden + params["c"]
        return jnp.einsum("oh,h->o", params["a"], self.activate(hidden))

    def activate(self, z: Array) -> Array:
        """Return σ_k(z), elementwise."""
        sigma = {
            "tanh": jnp.tanh,
            "relu": jax.nn.relu,
            "silu": jax.nn.silu,
            "softplus": jax.nn.softplus,
        }[self.activation]
        return sigma(self.sharpness * z) / self.sharpness

    def exact(self, optimum: Params) -> LinearBlock | None:
        """Outputs are collapsed and input weights, at most four in all, integrated."""
        H, weights = self.hidden_dim, self.input_dim + self.biases
        if not 0 < H * weights <= MOST_WEIGHTS:
            return None
        if self.activation == "relu" and (H, weights) == (1, 2):
            return self._with_breakpoints(optimum)
        per_unit = [np.asarray(optimum["b"])]
        if self.biases:
            per_unit.append(np.asarray(optimum["c"])[:, None])
        at_optimum = np.column_stack(per_unit)
        coordinates = tuple(
            normal_coordinate(self.prior_scale, (*true, *-true)) for true in at_optimum.T
        )
        return LinearBlock(
            UnitsLatent(coordinates, H, odd=self.activation == "tanh"),
            self.prior_scale,
            strip=self._analytic_strip(optimum),
            odd=self.activation == "tanh" and not self.biases,
        )

    def _analytic_strip(self, optimum: Params) -> Strip | None:
        """Return the strip, in each of one or two inputs, where the steepest unit is analytic."""
        if self.input_dim > 2 or self.activation not in SINGULARITY:
            return None
        reach = REACH if self.input_dim == 1 else REACH_IN_PLANE
        steepest = max(reach * self.prior_scale, float(np.max(np.abs(optimum["b"]))))
        return Strip(SINGULARITY[self.activation] / self.sharpness, steepest)

    def _with_breakpoints(self, optimum: Params) -> LinearBlock:
        """The two weights of a ReLU are a length and an angle."""
        names = "bc" if self.biases else "b"
        weights = np.concatenate([np.ravel(optimum[name]) for name in names])
        live = np.any(optimum["a"]) and np.any(weights)
        angles = (float(np.arctan2(weights[1], weights[0])),) if live else ()
        law = BreakpointsLatent(self.biases, self.prior_scale, angles)
        return LinearBlock(law, self.prior_scale)

    def design(self, latent: Array, x: Array) -> Array:
        """σ_k of each of some units, whose weights the latent lists one unit after the other."""
        # Entry by entry, as XLA does not vectorise sums over a short last axis: with them the sums
        # over data of an oracle take five times as long.
        entries = [*x, 1.0] if self.biases else [*x]
        weights = latent.reshape(-1, len(entries)).T
        return self.activate(sum(w * entry for w, entry in zip(weights, entries, strict=True)))

    def embedding(self, teacher: "ShallowNet", params: Params) -> dict[str, np.ndarray]:
        """Return parameters at which this net is ``teacher`` at ``params``; spare units are zero.

        Raises ValueError where the teacher differs in more than its prior, has more units, or has
        biases where this net has none.
        """
        same = all(
            getattr(self, field) == getattr(teacher, field)
            for field in ("input_dim", "output_dim", "activation", "sharpness")
        )
        if not same or teacher.hidden_dim > self.hidden_dim or teacher.biases > self.biases:
            raise ValueError(f"{teacher} does not embed in {self}")
        embedded = {name: np.zeros(prior.shape()) for name, prior in self.priors().items()}
        for name, leaf in params.items():
            embedded[name][tuple(slice(size) for size in np.shape(leaf))] = leaf
        return embedded


def teacher_student(
    activation: Activation = "tanh",
    teacher_width: int = 1,
    student_width: int = 2,
    *,
    input_dim: int = 1,
    output_dim: int = 1,
    biases: bool = False,
    sharpness: float = 1.0,
    noise: float = 1.0,
    prior_scale: float = 1.0,
    uniform_input: bool = False,
    seed: int = 0,
) -> Problem:
    """Return the problem in which a shallow net learns another one, of any widths.

    Both are ``ShallowNet`` with these fields. Unit h of a teacher of H units has |b_h| = 2h/(H + 1)
    and |a_h| = 1, in directions drawn with ``seed``, and a bias c_h ~ U(−1, 1); no units are the
    zero function. Wherever a problem is named, as in ``--problems``, so is this one, by
    ``teacher_student(relu,1,3)`` or ``teacher_student(tanh,2,4,biases=True)``. Raises ValueError,
    naming the argument, for values that ``ShallowNet`` refuses and for a teacher that is wider than
    the student.

    >>> import slt_jax as slt
    >>> problem = slt.teacher_student("relu", teacher_width=1, student_width=3)
    >>> problem.name, problem.model.dimension
    ('teacher_student_relu_1_3', 6)
    >>> problem is slt.load_problem("teacher_student(relu,1,3)")  # one constant to every program
    True
    """
    options = {
        "input_dim": input_dim, "output_dim": output_dim, "biases": biases, "noise": noise,
        "sharpness": sharpness, "prior_scale": prior_scale, "uniform_input": uniform_input,
        "seed": seed,
    }  # fmt: skip
    check("teacher_width", teacher_width, Size)
    check("student_width", student_width, Count)
    check("seed", seed, Size)
    if teacher_width > student_width:
        raise ValueError(
            f"teacher_width = {teacher_width}: must be ≤ student_width = {student_width}"
        )
    return _teacher_student(activation, teacher_width, student_width, tuple(options.items()))


@functools.cache
def _teacher_student(
    activation: Activation, teacher_width: int, student_width: int, options: tuple[Any, ...]
) -> Problem:
    defaults = inspect.signature(teacher_student).parameters
    fields = dict(options)
    others = {name: v for name, v in options if v != defaults[name].default}
    rng = np.random.default_rng(fields.pop("seed"))
    student = ShallowNet(hidden_dim=student_width, activation=activation, **fields)
    teacher = replace(student, hidden_dim=teacher_width)
    words = ["teacher_student", activation, teacher_width, student_width]
    words += [word for pair in others.items() for word in pair]
    units = f"{activation} net of {student_width} units, {teacher_width} in the truth"
    return with_teacher(
        re.sub(r"\W", "_", "_".join(map(str, words)).lower()),
        student,
        teacher,
        _distinct_units(teacher, rng),
        ", ".join([units, *(f"{name} = {value}" for name, value in others.items())]),
    )


def _distinct_units(teacher: ShallowNet, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the units of a teacher, no two of which are the same up to sign."""
    count = teacher.hidden_dim
    a, b = (rng.standard_normal((count, size)) for size in (teacher.output_dim, teacher.input_dim))
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    lengths = 2 * np.arange(1, count + 1) / (count + 1)
    params = {"a": a.T, "b": lengths[:, None] * b, "c": rng.uniform(-1, 1, count)}
    return {name: params[name] for name in teacher.priors()}


def with_teacher(
    name: str, student: ShallowNet, teacher: ShallowNet, params: Params, title: str
) -> Problem:
    """Return the realisable problem whose truth is ``teacher`` at ``params``, in float64.

    The optimum is the embedding. For tanh without biases, W₀ is known if the units of the teacher
    are non-zero and no two of them are equal up to sign (Sussmann 1992). Raises ValueError as
    ``ShallowNet.embedding`` does, and where the inputs or the noise have other distributions.
    """
    if (student.uniform_input, student.noise) != (teacher.uniform_input, teacher.noise):
        raise ValueError(f"{teacher} and {student} must have the same inputs and noise")
    optimum = student.embedding(teacher, params)
    known = student.activation == "tanh" and not student.biases
    optimal_set = functools.partial(_regrouped, student, teacher.hidden_dim, optimum)
    return Problem(
        name,
        student,
        optimum,
        _of_single_unit(student, optimum),
        title=title,
        showcase=False,
        optimal_set=optimal_set if known else None,
    )


def _of_single_unit(model: ShallowNet, optimum: Params) -> theory.Theory | None:
    """Return the theory of one unit without bias at truth 0, if σ(0) = 0; None for other nets.

    K is then between two positive multiples of |a|²|b|².
    """
    zero = not any(np.any(leaf) for leaf in optimum.values())
    if model.hidden_dim > 1 or model.biases or model.activation == "softplus" or not zero:
        return None
    return theory.rank_one_factorisation(model.output_dim, model.input_dim)


def _regrouped(model: ShallowNet, true_units: int, optimum: Params, key: Array) -> Params:
    """Draw a net that is the same function: tanh units are split, cancelled and reordered.

    Every unit joins one of the teacher or a new one and takes its b up to sign, and the a of a
    group, with these signs, sum to that of the teacher or to zero.
    """
    H = model.hidden_dim
    keys = jax.random.split(key, 4)
    draw, index = model.sample_prior(keys[0]), jnp.arange(H)
    # Group H has b = 0, at which tanh vanishes whatever a is.
    group = jnp.where(index < true_units, index, jax.random.randint(keys[1], (H,), 0, H + 1))
    signs = jax.random.rademacher(keys[2], (H,), draw["a"].dtype)
    together = group[:, None] == group
    centres = jnp.where(index[:, None] < true_units, optimum["b"], draw["b"])
    sums = jnp.where(group < true_units, jnp.take(optimum["a"], group % H, axis=1), 0)
    shares = draw["a"] + (sums - draw["a"] @ together) / jnp.sum(together, axis=0)
    a = jnp.where(group == H, draw["a"], signs * shares)
    b = jnp.where(group[:, None] == H, 0, signs[:, None] * centres[group % H])
    order = jax.random.permutation(keys[3], H)
    return {"a": a[:, order], "b": b[order]}


def problems() -> tuple[Problem, ...]:
    """Return a truth of zero on two inputs, and teachers of each smooth activation."""
    flat = ShallowNet(input_dim=2, hidden_dim=1)
    none = replace(flat, hidden_dim=0)
    wide = ShallowNet(input_dim=2, hidden_dim=3, output_dim=2)
    silu = ShallowNet(hidden_dim=2, activation="silu", biases=True)
    softplus = replace(silu, activation="softplus", sharpness=4.0)
    unit = {"a": np.array([[1.0]]), "b": np.array([[1.0]]), "c": np.array([-0.5])}
    two = {"a": np.array([[1.0, 0.0], [0.0, 1.0]]), "b": np.array([[1.0, 0.5], [0.5, -1.0]])}
    return (
        with_teacher("tanh_2d_1", flat, none, {}, "tanh net, 2 inputs, 1 hidden unit, truth 0"),
        with_teacher(
            "tanh_2d_3_teacher_2",
            wide,
            replace(wide, hidden_dim=2),
            two,
            "tanh net, widths 2-3-2, 2 units in the truth",
        ),
        *(
            with_teacher(
                f"{net.activation}_biased_2_teacher_1",
                net,
                replace(net, hidden_dim=1),
                unit,
                f"{net.activation} net with biases, 2 hidden units, 1 in the truth",
            )
            for net in (silu, softplus)
        ),
    )


MAKERS = (teacher_student,)
