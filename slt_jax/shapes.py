"""Whether all that a problem's model returns has the shape that sums over data need.

A likelihood of shape [1] would broadcast against weights [n] to a sum over n × n terms, and a
prediction of another shape against y: nothing later on would notice.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from slt_jax.model import Data, FeatureRegression, Model, Params, Problem, Regression, Truth

# Two data, so that a sum over data is not mistaken for one over the entries of a datum.
SOME_DATA = 2

Shape = tuple[int, ...]


@functools.lru_cache(maxsize=1024)
def datum_of(problem: Problem) -> Data:
    """The shapes and types of x and y of one datum, once those of all else are checked.

    By abstract evaluation, which compiles nothing and touches no device. Raises ValueError where
    the parameters at the optimum, of the truth or of ``optimal_set`` have not the names and shapes
    of the priors, or something that the model returns is of another shape than its docstring says.
    """
    model, truth = problem.model, problem.truth or Truth(problem.model, problem.optimum)
    _check_params(f"{problem.name}: optimum", problem.optimum, model)
    _check_params(f"{problem.name}: truth", truth.params, truth.model)
    datum = _datum(f"{problem.name}: simulate", problem.simulate, _key())
    if not problem.realisable:
        own = _datum(f"{problem.name}: simulate", model.simulate, _params_of(model), _key())
        for part, of_truth, of_model in zip(Data._fields, datum, own, strict=True):
            if of_truth.shape != of_model.shape:
                raise ValueError(
                    f"{problem.name}: the truth has {part} of shape {of_truth.shape}: the model "
                    f"has {of_model.shape}"
                )
    _check_model(model, datum)
    if problem.optimal_set is not None:
        drawn = jax.eval_shape(problem.optimal_set, _key())
        _check_params(f"{problem.name}: optimal_set", drawn, model)
    return datum


def _key() -> Any:
    """A key in the abstract: one with a value would start a backend."""
    return jax.eval_shape(jax.random.key, 0)


def _floats(shape: Shape) -> Any:
    return jax.eval_shape(functools.partial(jnp.zeros, shape))


def _params_of(model: Model) -> dict[str, Any]:
    return {name: _floats(prior.shape()) for name, prior in model.priors().items()}


def _check_params(name: str, params: Params, model: Model) -> None:
    """Raise ValueError where parameters have not the names and shapes of the priors."""
    expected = {parameter: prior.shape() for parameter, prior in model.priors().items()}
    if set(params) != set(expected):
        raise ValueError(f"{name} has {', '.join(params)}: must have {', '.join(expected)}")
    for parameter, shape in expected.items():
        if (found := np.shape(params[parameter])) != shape:
            raise ValueError(f"{name}[{parameter!r}] has shape {found}: must be {shape}")


def _datum(name: str, simulate: Any, *arguments: Any) -> Data:
    found = jax.eval_shape(simulate, *arguments)
    if not isinstance(found, tuple) or len(found) != 2:
        raise ValueError(f"{name} returns {found}: must be x and y of one datum")
    return Data(*found)


@functools.lru_cache(maxsize=1024)
def _check_model(model: Model, datum: Data) -> None:
    """Raise ValueError for the first thing that a model returns in a wrong shape."""
    for name, found, expected in _returned(model, datum):
        if found != expected:
            raise ValueError(
                f"{type(model).__name__}.{name} returns shape {found}: must be {expected} for one "
                f"datum with x {datum.x.shape} and y {datum.y.shape}"
            )


def _returned(model: Model, datum: Data) -> Iterator[tuple[str, Shape, Shape]]:
    """What is returned, its shape and the one it must have, the simplest first.

    One after the other, as what follows is made of what has been checked. Methods that come from
    the base classes are right where the methods are that they call.
    """

    def shape(method: str, *arguments: Any) -> Shape:
        return jax.eval_shape(getattr(model, method), *arguments).shape

    def is_own(*methods: str) -> bool:
        return any(getattr(type(model), m).__module__ != Model.__module__ for m in methods)

    params, key, (x, y) = _params_of(model), _key(), datum
    if is_own("sample_prior"):
        for name, drawn in jax.eval_shape(model.sample_prior, key).items():
            yield f"sample_prior[{name!r}]", drawn.shape, params[name].shape
    if is_own("log_prior"):
        yield "log_prior", shape("log_prior", params), ()
    if isinstance(model, Regression):
        yield "sample_input", shape("sample_input", key), x.shape
        if (inputs := model.input_distribution()) is not None:
            yield "input_distribution", inputs.shape(), x.shape
        if isinstance(model, FeatureRegression):
            features = shape("features", x)
            yield "features", features, features[:1] or (1,)
            yield "coefficients", shape("coefficients", params), (*features, *y.shape)
        prediction = shape("predict", params, x)
        yield "predict", prediction, y.shape
        yield "predict", prediction, prediction[:1] or (1,)
    if is_own("log_likelihood"):
        yield "log_likelihood", shape("log_likelihood", params, x, y), ()
    if is_own("entropy") and (entropy := jax.eval_shape(model.entropy, params)) is not None:
        yield "entropy", entropy.shape, ()
    if is_own("summarise", "log_likelihood_ratio"):
        reference, ratio = _sums(model, params, datum)
        yield "summarise.reference", reference.shape, ()
        yield "log_likelihood_ratio", ratio.shape, ()


def _sums(model: Model, params: Params, datum: Data) -> Any:
    """The reference of a summary and the ratio that is made of it, in the abstract."""

    def sums(params: Params, data: Data, weights: Any) -> tuple[Any, Any]:
        summary = model.summarise(params, data, weights)
        return summary.reference, model.log_likelihood_ratio(params, summary)

    data = Data(*(_floats((SOME_DATA, *part.shape)) for part in datum))
    return jax.eval_shape(sums, params, data, _floats((SOME_DATA,)))
