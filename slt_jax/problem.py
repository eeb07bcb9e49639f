"""The learning problem: Watanabe's triplet of truth, model and prior, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

import jax
from jax import Array

from slt_jax.model import Model
from slt_jax.run.precision import in_default_precision
from slt_jax.statistics import Params
from slt_jax.theory import Theory
from slt_jax.validation import NonNegative, check, check_kind


@dataclass(frozen=True)
class Truth:
    """The density that data are drawn from: a model at fixed parameters.

    >>> import numpy as np
    >>> from slt_jax import Truth
    >>> from slt_jax.models.linear import LinearRegression
    >>> truth = Truth(LinearRegression(input_dim=2, noise=0.5), {"w": np.ones(2)})
    >>> round(truth.entropy(), 4)  # of N(wᵀx, 0.25), nats per datum
    0.7258
    """

    model: Model
    params: Params

    def __post_init__(self) -> None:
        check_kind("model", self.model, Model, "a Model")
        check_kind("params", self.params, Mapping, "parameter arrays by name")

    def simulate(self, key: Array) -> tuple[Array, Array]:
        """Draw one datum (x, y)."""
        return self.model.simulate(in_default_precision(self.params), key)

    def entropy(self) -> float | None:
        """Return S of q(y|x) in nats per datum, or None where it is unknown."""
        with jax.enable_x64(True):
            params = in_default_precision(self.params)
            entropy = jax.jit(self.model.entropy)(params)
            return None if entropy is None else float(entropy)


@dataclass(frozen=True, eq=False)
class Problem:
    """Watanabe's triplet of truth q, model p and prior φ, with what is known about it.

    ``optimum`` is a minimiser w₀ of L in the model; ``truth`` defaults to the model at the
    optimum, which makes the problem realisable. A problem of one's own data has neither: the
    posterior mode of the data then takes the place of w₀ (``slt_jax.with_reference``), and
    ``optimum_is_fitted`` says so. ``theory`` is None where (λ, m) is unknown, and
    where its asymptote of F_n does not hold. ``title`` describes the problem in a few words.
    Experiments that name no problems take those with ``showcase``. ``divergence`` is
    L(w₀) − S ≥ 0, the relative entropy from the truth to the model at w₀ in nats per datum, of a
    problem that is not realisable; None where it is unknown. ``optimal_set`` maps a key to one draw
    from W₀ = {w : L(w) = L(w₀)}, not necessarily from all of it, and is None where W₀ is unknown.
    Raises ValueError for a field of another type and for a divergence that is negative or not
    finite.

    >>> import numpy as np
    >>> from slt_jax import Problem, theory
    >>> from slt_jax.models.linear import LinearRegression
    >>> line = Problem("line", LinearRegression(input_dim=1), {"w": np.zeros(1)}, theory.regular(1))
    >>> line.realisable, round(line.optimal_loss, 4)  # L(w₀) = S of N(0, 1), nats per datum
    (True, 1.4189)
    """

    name: str
    model: Model
    optimum: Params = field(default_factory=dict)
    theory: Theory | None = None
    truth: Truth | None = None
    title: str = ""
    showcase: bool = True
    divergence: float | None = None
    optimal_set: Callable[[Array], Params] | None = None
    optimum_is_fitted: bool = False

    def __post_init__(self) -> None:
        check_kind("name", self.name, str, "a string")
        check_kind("model", self.model, Model, "a Model")
        check_kind("optimum", self.optimum, Mapping, "parameter arrays by name")
        check_kind("theory", self.theory, (Theory, NoneType), "a Theory or None")
        check_kind("truth", self.truth, (Truth, NoneType), "a Truth or None")
        check("divergence", self.divergence, NonNegative | None)

    @property
    def realisable(self) -> bool:
        """True if the truth is the model at the optimum, by construction."""
        return self.truth is None and self._has_known_optimum

    @property
    def has_truth(self) -> bool:
        """True if it is known what data are drawn from."""
        return self.truth is not None or self._has_known_optimum

    @property
    def entropy(self) -> float | None:
        """S of q(y|x) in nats per datum, None where unknown."""
        return self.true_density.entropy() if self.has_truth else None

    @property
    def optimal_loss(self) -> float | None:
        """L(w₀) = S + divergence in nats per datum, S if realisable, None where unknown."""
        entropy = self.entropy
        divergence = 0.0 if self.realisable else self.divergence
        return None if entropy is None or divergence is None else entropy + divergence

    def simulate(self, key: Array) -> tuple[Array, Array]:
        """Draw one datum (x, y) from the truth. Raises ValueError where that is unknown."""
        return self.true_density.simulate(key)

    @property
    def true_density(self) -> Truth:
        """The truth, which is the model at w₀ unless another is given.

        Raises ValueError where it is unknown.
        """
        if not self.has_truth:
            raise ValueError(
                f"{self.name}: no truth is known; give the Problem its optimum or a truth"
            )
        return self.truth or Truth(self.model, self.optimum)

    def check_optimum(self) -> None:
        """Raise ValueError for a problem without an optimum, which sums over data start from."""
        if not self.optimum:
            raise ValueError(
                f"{self.name}: has no optimum; give it one, or find a reference point of your "
                "data by with_reference"
            )

    @property
    def _has_known_optimum(self) -> bool:
        return bool(self.optimum) and not self.optimum_is_fitted


def require_problem(problem: Any) -> None:
    """Refuse anything but a problem, as its name or model, with a ValueError that says so."""
    check_kind("problem", problem, Problem, "a Problem, as load_problem('linear_3')")
