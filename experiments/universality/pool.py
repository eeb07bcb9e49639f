"""The common pool of target functions: simple ones, and draws from the prior of each class."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import Config

Floats = np.ndarray
TOP_DEGREE = 4
# The number of factors of the coefficients of degrees 0 to 4, as in the essay's polynomial.
FACTORS = (5, 4, 3, 2, 1)
PRIORS = ("tanh", "ReLU", "products", "monomials", "Fourier")
SEED_OF_POOL = 1
# Coefficients below are those of rounding.
ZERO = 1e-10


class Design(NamedTuple):
    """Inputs ``x`` [J] in [−1, 1] and the share ``weight`` [J] of the data that each has.

    They are a Gauss–Legendre rule: Legendre polynomials are orthonormal on it.
    """

    x: Floats
    weight: Floats

    def rms(self, values: Floats) -> Floats:
        """Return the root of the mean square over inputs of functions [..., J]."""
        return np.asarray(np.sqrt(values**2 @ self.weight))


class Pool(NamedTuple):
    """T targets: ``names``, ``origins``, ``values`` [T, J], and units [3, H] of those from nets.

    All have mean square 1 on the design but for the zero function. ``units`` of a target, by the
    class that it was drawn from, are the rows b, c and a of f = Σ_h a_h σ(b_h x + c_h).
    """

    names: tuple[str, ...]
    origins: tuple[str, ...]
    values: Floats
    units: dict[int, tuple[str, Floats]]


def design_of(nodes: int) -> Design:
    """Return the design of so many inputs."""
    x, weight = np.polynomial.legendre.leggauss(nodes)
    return Design(x, weight / 2)


def legendre(x: Floats, degree: int) -> Floats:
    """Evaluate √(2k + 1) P_k [J, degree + 1], orthonormal under the uniform law."""
    basis = np.polynomial.legendre.legvander(x, degree)
    return np.asarray(basis * np.sqrt(2 * np.arange(degree + 1) + 1))


def monomials(x: Floats, degree: int) -> Floats:
    """Evaluate 1, x, …, x^degree [J, degree + 1]."""
    return np.vander(x, degree + 1, increasing=True)


def fourier(x: Floats, harmonics: int) -> Floats:
    """Evaluate 1, cos(πkx/2), sin(πkx/2), k = 1 … [J, 2·harmonics + 1]: the period is 4."""
    waves = [np.ones_like(x)]
    for k in range(1, harmonics + 1):
        waves += [np.cos(np.pi * k * x / 2), np.sin(np.pi * k * x / 2)]
    return np.stack(waves, axis=1)


def activation(name: str, z: Floats) -> Floats:
    """Evaluate σ of a class of nets."""
    return np.tanh(z) if name == "tanh" else np.maximum(z, 0.0)


def simple_functions() -> dict[str, Callable[[Floats], Floats]]:
    """Return the simple targets by name, before they are scaled."""
    polynomials = {
        ("1", "x", "P₂", "P₃", "P₄")[k]: lambda x, k=k: legendre(x, TOP_DEGREE)[:, k]
        for k in range(TOP_DEGREE + 1)
    }
    return {
        "0": lambda x: 0 * x,
        **polynomials,
        "x²": lambda x: x**2,
        "x³": lambda x: x**3,
        "x⁴": lambda x: x**4,
        "1+x": lambda x: 1 + x,
        "exp x": np.exp,
        "sin(πx/2)": lambda x: np.sin(np.pi * x / 2),
        "cos(πx/2)": lambda x: np.cos(np.pi * x / 2),
        "sin(πx)": lambda x: np.sin(np.pi * x),
        "cos(πx)": lambda x: np.cos(np.pi * x),
        "tanh(3x)": lambda x: np.tanh(3 * x),
        "|x|": np.abs,
        "max(x,0)": lambda x: np.maximum(x, 0.0),
        "hat": lambda x: np.maximum(1 - 2 * np.abs(x), 0.0),
        "exp(−8x²)": lambda x: np.exp(-8 * x**2),
    }


def pool_of(config: Config) -> Pool:
    """Make the pool: the simple functions, then ``prior_targets`` draws of each class's prior."""
    design = design_of(config.nodes)
    simple = simple_functions()
    names, origins = [*simple], ["simple"] * len(simple)
    values = [function(design.x) for function in simple.values()]
    units: dict[int, tuple[str, Floats]] = {}
    for place, origin in enumerate(PRIORS):
        for draw in range(config.prior_targets):
            # A draw depends on the seed, its class and its index alone.
            rng = np.random.default_rng((config.seed, SEED_OF_POOL, place, draw))
            drawn, of_units = _prior_draw(origin, config, design.x, rng)
            if of_units is not None:
                of_units[2] /= design.rms(drawn)
                units[len(names)] = origin, of_units
            names.append(f"{origin} {draw + 1}")
            origins.append(origin)
            values.append(drawn)
    stacked = np.stack(values)
    size = design.rms(stacked)[:, None]
    scaled = np.divide(stacked, size, out=np.zeros_like(stacked), where=size > ZERO)
    return Pool(tuple(names), tuple(origins), scaled, units)


def _prior_draw(
    origin: str, config: Config, x: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats | None]:
    """Draw a function [J] from the prior of a class, and its units [3, H] if it is a net."""
    scale = config.prior_scale
    match origin:
        case "products":
            coefficients = [np.prod(scale * rng.standard_normal(count)) for count in FACTORS]
            return legendre(x, TOP_DEGREE) @ np.array(coefficients), None
        case "monomials" | "Fourier":
            features = (
                monomials(x, config.degree)
                if origin == "monomials"
                else fourier(x, config.harmonics)
            )
            return features @ (scale * rng.standard_normal(features.shape[1])), None
        case _:
            count = config.tanh_units if origin == "tanh" else config.relu_units
            b, c, a = units = scale * rng.standard_normal((3, count))
            # Without the constant: it is a parameter of the nets too, and zero here.
            return activation(origin, np.outer(x, b) + c) @ a, units
