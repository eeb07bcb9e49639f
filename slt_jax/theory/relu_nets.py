"""ReLU networks that are wider than the network that generated the data."""

from collections.abc import Sequence
from fractions import Fraction

from slt_jax.theory.arguments import checked_integer, checked_integers
from slt_jax.theory.coefficients import Theory
from slt_jax.theory.shallow_nets import relu_zero_truth


def relu_slopes(hidden_dim: int, nonzero_slopes: int) -> Theory:
    """Return the theory of f(x) = Σ_h a_h max(b_h x, 0) at the truth s max(x, 0) + t max(−x, 0).

    With c the number of s and t that are not 0, this is ``relu_zero_truth`` if c = 0; otherwise
    λ = c/2 and m = 1.

    The one input takes both signs with positive probability; there are no biases. ``hidden_dim`` is
    H ≥ 1 and ``nonzero_slopes`` is c, 0 to min(2, H). Raises ValueError naming the argument and its
    value otherwise.

    Source: elementary, as follows. Fix the signs of the b_h. K is between two positive multiples
    of (A − s)² + (B − t)² with A the sum of a_h b_h over the positive b_h and B that over the
    others. A − s with s ≠ 0 is a regular direction and needs a positive b_h. If t = 0 the least
    λ is that of all b_h > 0, where B vanishes.
    """
    h = checked_integer("hidden_dim", hidden_dim, 1)
    c = checked_integer("nonzero_slopes", nonzero_slopes, 0)
    if c > min(2, h):
        raise ValueError(f"nonzero_slopes={c}; allowed: 0 to {min(2, h)}")
    if c == 0:
        return relu_zero_truth(h)
    return Theory(Fraction(c, 2), 1, "exact", "regular directions on each orthant of the weights")


def relu_breakpoints(hidden_dim: int, breakpoints: int) -> Theory:
    """Return the theory of f(x) = Σ_h a_h max(b_h x + c_h, 0) at a truth with breakpoints.

    With H₀ breakpoints in the truth, which is a net of H₀ units, λ = H₀ and m = 1, whatever H is.

    The one input is on a bounded interval with a positive density, the true breakpoints inside it,
    and the prior is positive. ``hidden_dim`` is H ≥ 1 and ``breakpoints`` is H₀, 0 to H. Raises
    ValueError naming the argument and its value otherwise.

    Source: derived here, checked by ``check``, as follows. Further units are off on the whole
    interval with positive prior probability, and what is left are H₀ units with 3H₀ parameters,
    H₀ of which rescale a unit: λ ≤ H₀. At a true breakpoint the slopes a|b| of the units that break
    near it add up to the true jump, and so do their first moments about it; both sums are integrals
    of f against fixed test functions, so that their squares are at most multiples of K. They are
    independent in the a and c of a unit with ab ≠ 0, and breakpoints do not share units:
    2H₀ regular directions at every true parameter, and λ ≥ H₀.
    """
    h = checked_integer("hidden_dim", hidden_dim, 1)
    k = checked_integer("breakpoints", breakpoints, 0)
    if k > h:
        raise ValueError(f"breakpoints={k}; allowed: 0 to hidden_dim={h}")
    return Theory(Fraction(k), 1, "exact", "derived here, checked")


def relu_network(widths: Sequence[int], true_widths: Sequence[int]) -> Theory:
    """Return the theory of a ReLU network with biases on bounded inputs with a narrower true one.

    With H₁ (input), …, H_L (output) the widths of the true network, where a path of weights that
    are not 0 leads from each hidden unit to the output,

    λ ≤ (Σ_{k<L} H_{k+1}(H_k + 1) − Σ_{1<k<L} H_k)/2,

    whatever the widths of the network that is fitted. m = 1 is that of a function above K.

    ``widths`` are those of input, hidden layers and output, two or more, all ≥ 1. ``true_widths``
    are as many, none larger, the hidden ones ≥ 0 and those at the ends the same. The prior is
    positive near the true network and on a neighbourhood of the networks whose further units have
    negative activations for all inputs. Raises ValueError naming the argument and its value
    otherwise.

    Source: Nagayasu and Watanabe, Bayesian free energy of deep ReLU neural network in
    overparametrized cases, arXiv:2303.15739 (2023), for the first sum, elementary as follows. Let
    the further units be switched off by their biases; this is an open set, where K depends on the
    parameters of a network of the true shape alone. It is at most a multiple of the squared
    distance to the true ones. The second sum counts the rescalings, one for each hidden unit, which
    leave the function as it is: the true parameters have at least that dimension.
    """
    layers = checked_integers("widths", widths, 1)
    if len(layers) < 2:
        raise ValueError(f"widths={widths!r}; allowed: two widths or more")
    true = checked_integers("true_widths", true_widths, 0)
    if len(true) != len(layers) or [true[0], true[-1]] != [layers[0], layers[-1]]:
        raise ValueError(f"true_widths={true_widths!r}; allowed: same depth and ends as {widths!r}")
    if any(t > h for t, h in zip(true, layers, strict=True)):
        raise ValueError(f"true_widths={true_widths!r}; allowed: at most widths={widths!r}")
    parameters = sum(h * (g + 1) for g, h in zip(true, true[1:], strict=False))
    return Theory(
        learning_coefficient=Fraction(parameters - sum(true[1:-1]), 2),
        multiplicity=1,
        kind="upper bound",
        source="Nagayasu and Watanabe 2023, less the rescalings of the units",
    )
