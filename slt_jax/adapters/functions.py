"""A model of plain functions: a log-likelihood of one datum, and priors by name."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

from slt_jax.adapters.priors import cells_of, entries
from slt_jax.model import Model
from slt_jax.oracles.structures import Direct
from slt_jax.priors import parameter_shapes
from slt_jax.run.compilation import keep_compilations
from slt_jax.statistics import Params
from slt_jax.validation import shown


@dataclass(frozen=True, kw_only=True)
class FunctionModel(Model):
    """The model of ``define_model``. Functions and distributions are compared by identity."""

    function: Callable[[Params, Array, Array], Array]
    prior_items: tuple[tuple[str, Any], ...]
    simulator: Callable[[Params, Array], tuple[Array, Array]] | None = None

    @property
    def knows_shapes(self) -> bool:
        return self.simulator is not None

    def priors(self) -> dict[str, Any]:
        return dict(self.prior_items)

    def log_likelihood(self, params: Params, x: Array, y: Array) -> Array:
        return jnp.asarray(self.function(params, x, y))

    def simulate(self, params: Params, key: Array) -> tuple[Array, Array]:
        if self.simulator is None:
            raise ValueError("simulate = None: define_model must be given one to simulate data")
        return self.simulator(params, key)

    def exact(self, optimum: Params) -> Direct | None:
        """Direct quadrature of one or two parameters of uniform or centred normal priors."""
        del optimum
        return cells_of(self.priors())

    def from_latent(self, latent: Array) -> Params:
        return entries(self.priors(), latent)


def define_model(
    log_likelihood: Callable[[Params, Array, Array], Array],
    priors: Mapping[str, Any],
    simulate: Callable[[Params, Array], tuple[Array, Array]] | None = None,
) -> Model:
    """Make a model of plain functions, which all of the package takes.

    ``log_likelihood(params, x, y)`` is log p(y | x, w) of ONE datum, a scalar in nats; params is a
    dict of arrays, x and y are floats, and x has shape [0] for data without inputs. ``priors`` are
    those of ``Model.priors``: distributions of numpyro, or functions of the parameters before.
    ``simulate(params, key)`` draws one datum (x, y); only what simulates needs it.

    With one or two parameters, of uniform or centred normal priors, the model has an exact answer.
    Functions are compared by identity: define a model once, or every program is compiled anew.
    Raises ValueError for arguments that are no functions of these, and for priors that are none.

    >>> import numpy as np, numpyro.distributions as dist
    >>> import slt_jax as slt
    >>> def log_likelihood(params, x, y):
    ...     return dist.Normal(params["w"] ** 2 * x, 0.5).log_prob(y)
    >>> model = slt.define_model(log_likelihood, {"w": dist.Uniform(-2, 2)})
    >>> x = np.linspace(-1, 1, 20)
    >>> posterior = slt.exact(slt.Problem("square", model, {"w": 1.0}), slt.Data(x, np.tanh(x)))
    >>> f"F_n = {posterior.free_energy.value:.4f}"  # a bare model would do
    'F_n = 6.6204'
    """
    _check_function("log_likelihood", log_likelihood, "(params, x, y)", 3)
    if simulate is not None:
        _check_function("simulate", simulate, "(params, key)", 2)
    _check_priors(priors)
    keep_compilations()  # of the caller's own arrays too, which usually come next
    return FunctionModel(
        function=log_likelihood,
        prior_items=tuple(priors.items()),
        simulator=simulate,
    )


def _check_priors(priors: Any) -> None:
    if not (isinstance(priors, Mapping) and priors):
        raise ValueError(f"priors = {shown(priors)}: must be a dict of distributions by name")
    parameter_shapes(priors)


def _check_function(name: str, function: Any, arguments: str, count: int) -> None:
    wanted = f"must be a function of {arguments}"
    if not callable(function):
        raise ValueError(f"{name} = {shown(function)}: {wanted}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some compiled functions have none
    try:
        signature.bind(*range(count))
    except TypeError as error:
        raise ValueError(f"{name} takes {signature}: {wanted}") from error
