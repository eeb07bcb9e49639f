"""Minimum norm with monomials in extended precision, by the n × n system of their kernel.

The kernel is K(x, x') = Σ_{k<p} max(k, 1)^−2s (xx')^k, which for s = 0 is (1 − t^p)/(1 − t) with
t = xx'. The interpolant is K(x, X) K(X, X)^−1 y; at the nodes of ``end_rule`` its matrix, Cholesky
and products with f are in decimal numbers of so many digits, and only errors are rounded.
"""

import decimal
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .features import end_rule
from .targets import TARGETS

Decimals = NDArray[np.object_]
Floats = NDArray[np.float64]
# Cholesky and two triangular solutions of order n have a backward error below this times n² units
# in the last digit; Higham, Accuracy and Stability of Numerical Algorithms, 2002, §10.1.
BACKWARD = 16.0


class ExactErrors(NamedTuple):
    """The squared bias [P, target] and the variance over σ² [P] at each p, with their bound.

    ``bound`` [P] is on the relative error, and that of the matrix in units of its norm.
    """

    bias: Floats
    variance: Floats
    bound: Floats


def minimum_norm_monomials(
    x: Floats, sizes: Sequence[int], scale: float, digits: int
) -> ExactErrors:
    """Compute the errors of minimum norm at inputs x [n] with p > n monomials, of several p."""
    with decimal.localcontext() as context:
        context.prec = digits
        rule = end_rule()
        inputs, nodes = _decimals(x), _decimals(rule.nodes)
        truth = np.stack([_exactly(target, inputs) for target in TARGETS.values()], axis=1)
        at_nodes = np.stack([f(rule.nodes) for f in TARGETS.values()], axis=1)
        products = np.multiply.outer(np.concatenate([inputs, nodes]), inputs)
        results = []
        for kernel in _kernels(products, sizes, scale):
            gram, cross = kernel[: x.size], kernel[x.size :]
            lower, inverse = _cholesky(gram)
            matrix = (cross @ inverse.T) @ inverse
            residual = np.asarray(matrix @ truth, float) - at_nodes
            # The trace of K^−1 times that of K bounds the condition number.
            condition = float(np.trace(gram) * np.sum(inverse * inverse))
            results.append(
                (
                    rule.weights @ residual**2,
                    rule.weights @ np.sum(np.asarray(matrix, float) ** 2, axis=1),
                    BACKWARD * x.size**2 * condition * 10.0 ** (1 - digits),
                )
            )
    bias, variance, bound = zip(*results, strict=True)
    return ExactErrors(np.array(bias), np.array(variance), np.array(bound))


def _decimals(values: Floats) -> Decimals:
    """Turn floats into the decimal numbers that they are, rounded to the context's digits."""
    flat = [+Decimal(float(value)) for value in values.ravel()]
    return np.array(flat, dtype=object).reshape(values.shape)


def _exactly(target: Any, x: Decimals) -> Decimals:
    """Evaluate a function to be learnt in decimal numbers."""
    return np.array([Decimal(target.factor) * target.shape(value) for value in x], dtype=object)


def _kernels(products: Decimals, sizes: Sequence[int], scale: float) -> Iterator[Decimals]:
    """Yield Σ_{k<p} max(k, 1)^−2s t^k of t ``products`` [...] for each p, which increase."""
    one = Decimal(1)
    if scale == 0:
        for size in sizes:
            yield (one - products**size) / (one - products)
        return
    exponent = Decimal(-2 * scale)
    power, total, done = np.full(products.shape, one), np.full(products.shape, Decimal(0)), 0
    for size in sizes:
        for k in range(done, size):
            total = total + power * Decimal(max(k, 1)) ** exponent
            power = power * products
        done = size
        yield total


def _cholesky(gram: Decimals) -> tuple[Decimals, Decimals]:
    """Factorise K = LLᵀ, and return L and L^−1."""
    n = len(gram)
    lower = np.full((n, n), Decimal(0))
    inverse = np.full((n, n), Decimal(0))
    for i in range(n):
        for j in range(i):
            lower[i, j] = (
                (gram[i, j] - lower[i, :j] @ lower[j, :j]) / lower[j, j]
                if j
                else (gram[i, 0] / lower[0, 0])
            )
        rest = gram[i, i] - (lower[i, :i] @ lower[i, :i] if i else 0)
        lower[i, i] = rest.sqrt()
        inverse[i, i] = 1 / lower[i, i]
        if i:
            inverse[i, :i] = -(lower[i, :i] @ inverse[:i, :i]) / lower[i, i]
    return lower, inverse
