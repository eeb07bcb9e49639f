"""Checks that all that a problem's model returns has the shape that sums over data need.

A likelihood of shape [1] would broadcast against weights [n] to a sum over n × n terms, and a
prediction of another shape against y: nothing later on would notice.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from slt_jax.model import FeatureRegression, Model, Regression
from slt_jax.priors import parameter_shapes
from slt_jax.problem import Problem, check_problem
from slt_jax.run.precision import in_float64
from slt_jax.statistics import Data, Params
from slt_jax.validation import real_array, refuse_first, shown

# Two data, so that a sum over data is not mistaken for one over the entries of a datum.
SOME_DATA = 2

Shape = tuple[int, ...]


def datum_of(problem: Problem, shapes: tuple[Shape, Shape] | None = None) -> Data:
    """Return the shapes and types of x and y of one datum, once those of all else are checked.

    ``shapes`` are those of a datum that is at hand, for a model that does not know them.

    The evaluation is abstract: it compiles nothing and touches no device. It is in float64, as
    data are simulated, since JAX keeps what it traces. Raises ValueError for anything but a
    problem, where the parameters at the optimum, of the truth or of ``optimal_set`` have not the
    names and shapes of the priors or are no finite real numbers, or where the model returns another
    shape than its docstring says.
    """
    check_problem(problem)
    return _datum_of_problem(problem, shapes)


@functools.lru_cache(maxsize=1024)
@in_float64
def _datum_of_problem(problem: Problem, shapes: tuple[Shape, Shape] | None) -> Data:
    model, truth = problem.model, problem.truth
    if problem.optimum:
        _check_params(f"{problem.name}: optimum", problem.optimum, model)
    datum = _datum_of(model, shapes)
    if truth is not None:
        _check_params(f"{problem.name}: truth", truth.params, truth.model)
        true_datum = _datum_of(truth.model, None)
        for part, own, of_truth in zip(Data._fields, datum, true_datum, strict=True):
            if of_truth.shape != own.shape:
                raise ValueError(
                    f"{problem.name}: {part} has shape {of_truth.shape} in the truth: must be "
                    f"{own.shape}, as in the model"
                )
    if problem.optimal_set is not None:
        drawn = jax.eval_shape(problem.optimal_set, _key())
        _check_params(f"{problem.name}: optimal_set", drawn, model)
    return datum


@functools.lru_cache(maxsize=1024)
def _datum_of(model: Model, shapes: tuple[Shape, Shape] | None) -> Data:
    """Evaluate each method that a model defines, and return the shape of one datum.

    A method of the base classes is right if the methods that it calls are. The simplest come
    first, since later ones build on them.
    """
    family, params, key = type(model).__name__, _params_of(model), _key()

    def evaluated(method: str, *arguments: Any) -> Any:
        result = jax.eval_shape(getattr(model, method), *arguments)
        if not _is_array(result):
            raise ValueError(f"{family}.{method} returns {result}: must be one array")
        return result

    def expect(method: str, returned: Shape, expected: Shape) -> None:
        if returned != expected:
            raise ValueError(
                f"{family}.{method} returns shape {returned}: must be {expected} for one datum"
            )

    def is_own(*methods: str) -> bool:
        return any(getattr(type(model), m).__module__ != Model.__module__ for m in methods)

    if is_own("sample_prior"):
        _check_params(f"{family}.sample_prior", jax.eval_shape(model.sample_prior, key), model)
    if is_own("log_prior"):
        expect("log_prior", evaluated("log_prior", params).shape, ())
    if is_own("entropy") and (entropy := jax.eval_shape(model.entropy, params)) is not None:
        expect("entropy", entropy.shape, ())
    if isinstance(model, Regression):
        x = evaluated("sample_input", key)
        if (inputs := model.input_distribution()) is not None:
            expect("input_distribution", inputs.shape(), x.shape)
        if isinstance(model, FeatureRegression):
            features = evaluated("features", x).shape
            expect("features", features, features[:1] or (1,))
            coefficients = evaluated("coefficients", params).shape
            expect("coefficients", coefficients, features + (coefficients[1:2] or (1,)))
        prediction = evaluated("predict", params, x).shape
        expect("predict", prediction, prediction[:1] or (1,))
    datum = _simulated(model, params, key) if shapes is None else Data(*map(_floats, shapes))
    if isinstance(model, Regression):
        expect("simulate", datum.x.shape, x.shape)
        expect("predict", prediction, datum.y.shape)
    if is_own("log_likelihood"):
        expect("log_likelihood", evaluated("log_likelihood", params, *datum).shape, ())
    if is_own("log_likelihoods"):
        data = Data(*(_floats((SOME_DATA, *part.shape)) for part in datum))
        if (own := evaluated("log_likelihoods", params, data).shape) != (SOME_DATA,):
            raise ValueError(
                f"{family}.log_likelihoods returns shape {own}: must be ({SOME_DATA},) for "
                f"{SOME_DATA} data"
            )
    if is_own("statistics", "log_likelihood_ratio"):
        at_optimum, ratio = _sums(model, params, datum)
        expect("statistics", at_optimum.shape, ())
        expect("log_likelihood_ratio", ratio.shape, ())
    return datum


def _simulated(model: Model, params: Params, key: Any) -> Data:
    datum = jax.eval_shape(model.example_datum, params, key)
    if not isinstance(datum, tuple) or len(datum) != 2 or not all(map(_is_array, datum)):
        raise ValueError(
            f"{type(model).__name__}.simulate returns {datum}: must be two arrays, x and y"
        )
    return Data(*datum)


def _key() -> Any:
    """Return an abstract key: one with a value would start a backend."""
    return jax.eval_shape(jax.random.key, 0)


def _floats(shape: Shape) -> Any:
    return jax.eval_shape(functools.partial(jnp.zeros, shape))


def _params_of(model: Model) -> dict[str, Any]:
    return {name: _floats(shape) for name, shape in parameter_shapes(model.priors()).items()}


def _check_params(name: str, params: Params, model: Model) -> None:
    """Refuse parameters without the names and shapes of the priors, or that are not finite."""
    expected = parameter_shapes(model.priors())
    if set(params) != set(expected):
        raise ValueError(f"{name} has {', '.join(params)}: must have {', '.join(expected)}")
    for parameter, shape in expected.items():
        label, values = f"{name}[{parameter!r}]", params[parameter]
        if (own := np.shape(values)) != shape:
            raise ValueError(f"{label} has shape {own}: must be {shape}")
        if not _is_array(values):
            numbers = real_array(label, values)
            refuse_first(label, numbers, np.isfinite(numbers), "must be finite")


def check_statistics(problem: Problem, statistics: Any) -> None:
    """Refuse anything but statistics of data of a problem, of one data set or on a leading axis.

    Raises ValueError, with the type or the shape that is wrong, for data that have not been reduced
    and for statistics of another model.
    """
    expected = _statistics_of(problem) if problem.model.knows_shapes else None
    if expected is None:
        are_statistics = hasattr(statistics, "log_likelihood_at_optimum")
    else:
        structure: Any = jax.tree.structure(statistics)
        are_statistics = structure == jax.tree.structure(expected)
    if not are_statistics:
        raise ValueError(
            f"statistics = {shown(statistics)}: must be those of data, as "
            f"statistics_of(problem, data) of {problem.name} returns"
        )
    if expected is not None and problem.model.statistics_are_additive:
        parts = jax.tree_util.tree_leaves_with_path(statistics)
        for (path, part), right in zip(parts, jax.tree.leaves(expected), strict=True):
            own = np.shape(part)
            if own[max(len(own) - len(right.shape), 0) :] != right.shape:
                raise ValueError(
                    f"statistics{jax.tree_util.keystr(path)} has shape {own}: must end in "
                    f"{right.shape} for {problem.name}"
                )


@functools.lru_cache(maxsize=1024)
@in_float64
def _statistics_of(problem: Problem) -> Any:
    """Evaluate the statistics of some data abstractly."""
    data = Data(*(_floats((SOME_DATA, *part.shape)) for part in datum_of(problem)))
    params = _params_of(problem.model)
    return jax.eval_shape(problem.model.statistics, params, data, _floats((SOME_DATA,)))


def _is_array(result: Any) -> bool:
    return isinstance(result, jax.ShapeDtypeStruct)


def _sums(model: Model, params: Params, datum: Data) -> Any:
    """Evaluate the log-likelihood at the optimum and the log-likelihood ratio, abstractly."""

    def sums(params: Params, data: Data, weights: Any) -> tuple[Any, Any]:
        statistics = model.statistics(params, data, weights)
        return statistics.log_likelihood_at_optimum, model.log_likelihood_ratio(params, statistics)

    data = Data(*(_floats((SOME_DATA, *part.shape)) for part in datum))
    return jax.eval_shape(sums, params, data, _floats((SOME_DATA,)))
