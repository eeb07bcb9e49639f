"""The pair (λ, m) that a theorem asserts, and the rules that combine such pairs."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slt_jax.theory.arguments import checked_integer
from slt_jax.validation import check_kind, real_array

Kind = Literal["exact", "upper bound", "conjecture"]

# In order of decreasing strength: what is combined is as weak as its weakest part.
_KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Theory:
    """The largest pole of the zeta function of a learning problem, as a theorem states it.

    ζ(z) = ∫ K(w)^z φ(w) dw has its largest pole at z = −λ, of order m.

    ``learning_coefficient`` is λ ≥ 0, a Fraction; it is 0 only where K vanishes on a set of
    positive prior probability, and then m = 1. ``multiplicity`` is m ≥ 1. ``kind`` is "exact" for a
    theorem, "upper bound" for a theorem that bounds λ from above, and "conjecture" for anything
    without a proof. ``source`` says where the statement comes from. Raises ValueError naming the
    field and its value where one of these is violated.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009).

    >>> from slt_jax import theory
    >>> known = theory.tanh_zero_truth(3)
    >>> known.learning_coefficient, known.multiplicity
    (Fraction(5, 6), 1)
    >>> known.free_energy_asymptote([100, 1000]).round(3).tolist()  # nats, up to O_p(1)
    [3.838, 5.756]
    """

    learning_coefficient: Fraction
    multiplicity: int
    kind: Kind
    source: str

    def __post_init__(self) -> None:
        # Fields are not checked at run time: a float here would be wrong without a trace.
        coefficient: object = self.learning_coefficient
        if not isinstance(coefficient, Fraction) or coefficient < 0:
            raise ValueError(f"learning_coefficient={coefficient!r}; allowed: Fractions ≥ 0")
        checked_integer("multiplicity", self.multiplicity, 1)
        if coefficient == 0 and self.multiplicity != 1:
            raise ValueError(
                f"multiplicity={self.multiplicity!r} with learning_coefficient=0; allowed: 1"
            )
        if self.kind not in _KINDS:
            raise ValueError(f"kind={self.kind!r}; allowed: {', '.join(map(repr, _KINDS))}")
        if not self.source:
            raise ValueError(f"source={self.source!r}; allowed: any text but the empty one")

    def free_energy_asymptote(self, n: ArrayLike) -> NDArray[np.float64]:
        """Return the two leading terms of the free energy relative to nL_n(w₀), in total nats.

        F_n − nL_n(w₀) = λ log n − (m − 1) log log n + O_p(1).

        ``n`` are sample sizes > 1 of any shape; integers are not required. Returns an array of the
        same shape (0-d for a scalar). Raises ValueError naming the first n that is not > 1.

        Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009).
        """
        sizes = real_array("n", n)
        # Written so that NaN is refused too.
        refused = sizes[~(sizes > 1)]
        if refused.size:
            raise ValueError(f"n={float(refused[0])!r}; allowed: n > 1, where log log n is finite")
        log_n = np.log(sizes)
        return np.asarray(
            float(self.learning_coefficient) * log_n - (self.multiplicity - 1) * np.log(log_n)
        )


def sum_of(*theories: Theory) -> Theory:
    """Return the theory of K(u, v, …) = K₁(u) + K₂(v) + … with independent u, v, …

    λ = Σ_i λ_i and m − 1 = Σ_i (m_i − 1), because exp(−nK) factorises. The kind is the weakest
    among the terms; the sources are joined. K may be replaced by anything between two positive
    multiples of it, so that squared norms of orthogonal parts of an error add this way. Raises
    ValueError when no theory is given.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009); Lin, Algebraic
    Methods for Evaluating Integrals in Bayesian Statistics (2011).
    """
    _require_some(theories)
    return Theory(
        learning_coefficient=sum((t.learning_coefficient for t in theories), Fraction(0)),
        multiplicity=1 + sum(t.multiplicity - 1 for t in theories),
        kind=_weakest(theories),
        source=f"sum rule on: {_joined_sources(theories)}",
    )


def product_of(*theories: Theory) -> Theory:
    """Return the theory of K(u, v, …) = K₁(u) K₂(v) … with independent u, v, …

    λ = min_i λ_i, and m is the sum of the m_i over the i that attain it, because the zeta function
    factorises. The exception is λ = 0, where m = 1: K then vanishes on a set of positive
    probability. The kind is the weakest among the factors, even of those that do not attain the
    minimum: a bound there leaves open that they do. The sources are joined. Raises ValueError when
    no theory is given.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009); Lin, Algebraic
    Methods for Evaluating Integrals in Bayesian Statistics (2011).
    """
    _require_some(theories)
    smallest = min(t.learning_coefficient for t in theories)
    order = sum(t.multiplicity for t in theories if t.learning_coefficient == smallest)
    return Theory(
        learning_coefficient=smallest,
        multiplicity=order if smallest > 0 else 1,
        kind=_weakest(theories),
        source=f"product rule on: {_joined_sources(theories)}",
    )


def _require_some(theories: tuple[Theory, ...]) -> None:
    if not theories:
        raise ValueError(f"theories={theories!r}; allowed: one theory or more")
    for i, theory in enumerate(theories):
        check_kind(f"theories[{i}]", theory, Theory, "a Theory")


def _weakest(theories: tuple[Theory, ...]) -> Kind:
    return max((t.kind for t in theories), key=_KINDS.index)


def _joined_sources(theories: tuple[Theory, ...]) -> str:
    distinct = dict.fromkeys(t.source for t in theories)
    return "; ".join(f"({source})" for source in distinct)
