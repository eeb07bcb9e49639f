"""Time of one gradient of the log-likelihood against n, for every kind of likelihood."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.timing import Row, median_seconds, times
from slt_jax.model import FeatureRegression, Model
from slt_jax.models.linear import LinearRegression
from slt_jax.models.monomial import MonomialRegression
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.models.relu_net import BiasedReluNet, SortedStatistics
from slt_jax.models.tanh_net import TanhNet
from slt_jax.statistics import Data, RegressionStatistics, WeightedData

TINY = 1e-12
LikelihoodOf = Callable[[int], tuple[Callable[[Any, Any], Array], Any, Any]]


def measure(quick: bool) -> dict[str, Any]:
    """Seconds [n] of one gradient of each likelihood."""
    sizes = [100] if quick else [10**k for k in range(2, 8)]
    likelihoods: dict[str, LikelihoodOf] = {
        "linear": _statistics(LinearRegression()),
        "monomial": _statistics(MonomialRegression()),
        "reduced rank": _statistics(ReducedRankRegression(input_dim=4, output_dim=3)),
        "tanh net": _statistics(TanhNet(hidden_dim=3)),
        "ReLU net, prefix sums": _prefix_sums,
        "tanh net, plain sum": _plain_sum,
    }
    timings = [
        {"name": name, "seconds": [_seconds(*of_size(n), quick) for n in sizes]}
        for name, of_size in likelihoods.items()
    ]
    return {"sizes": sizes, "likelihoods": timings}


def _seconds(
    log_likelihood: Callable[[Any, Any], Array], params: Any, data: Any, quick: bool
) -> float:
    """Seconds of one gradient in a loop of many, so that starting a program is not counted."""
    gradient = jax.grad(log_likelihood)

    @jax.jit
    def loop(params: Any, data: Any, steps: int) -> Any:
        def climb(_: int, w: Any) -> Any:
            return jax.tree.map(lambda leaf, slope: leaf + TINY * slope, w, gradient(w, data))

        return jax.lax.fori_loop(0, steps, climb, params)

    once = median_seconds(lambda: loop(params, data, 2), 2) / 2
    steps = max(2, min(20_000, int((0.02 if quick else 0.3) / once)))
    return median_seconds(lambda: loop(params, data, steps), 2 if quick else 5) / steps


def _params(model: Model) -> Any:
    return model.sample_prior(jax.random.key(0))


def _statistics(model: FeatureRegression) -> LikelihoodOf:
    """Sufficient statistics as n data with independent features of unit variance have them."""

    def of_size(n: int) -> tuple[Callable[[Any, Any], Array], Any, RegressionStatistics]:
        params = _params(model)
        features, outputs = model.coefficients(params).shape
        noise = np.random.default_rng(0).normal(size=(features, outputs))
        statistics = RegressionStatistics(
            gram=jnp.asarray(n * np.eye(features), jnp.float32),
            cross=jnp.asarray(np.sqrt(n) * noise, jnp.float32),
            optimum=jnp.zeros((features, outputs)),
            log_likelihood_at_optimum=jnp.zeros(()),
        )
        return model.log_likelihood_ratio, params, statistics

    return of_size


def _prefix_sums(n: int) -> tuple[Callable[[Any, Any], Array], Any, SortedStatistics]:
    """Sorted inputs with the cumulated moments of unit weights and normal residuals."""
    model = BiasedReluNet(hidden_dim=3)
    generator = np.random.default_rng(0)
    x = np.sort(generator.normal(size=n).astype(np.float32))
    r = generator.normal(size=n).astype(np.float32)
    moments = np.zeros((n + 1, 2, 5), np.float32)
    for column, values in enumerate((np.ones_like(x), x, x**2, r, x * r)):
        moments[1:, 0, column] = np.cumsum(values, dtype=np.float64)
    params = _params(model)
    origin = jax.tree.map(jnp.zeros_like, params)
    statistics = SortedStatistics(
        jnp.asarray(x), jnp.asarray(moments), origin, jnp.ones(()), jnp.zeros(())
    )
    return model.log_likelihood_ratio, params, statistics


_NET = TanhNet(hidden_dim=3)


def _plain_likelihood(params: Any, statistics: WeightedData) -> Array:
    return Model.log_likelihood_ratio(_NET, params, statistics)


def _plain_sum(n: int) -> tuple[Callable[[Any, Any], Array], Any, WeightedData]:
    """The data themselves, chunk by chunk."""
    generator = np.random.default_rng(0)
    data = Data(
        jnp.asarray(generator.uniform(-1, 1, n), jnp.float32),
        jnp.asarray(generator.normal(size=(n, 1)), jnp.float32),
    )
    params = _params(_NET)
    origin = jax.tree.map(jnp.zeros_like, params)
    return _plain_likelihood, params, WeightedData(data, jnp.ones(n), origin, jnp.zeros(()))


def rows(timings: dict[str, Any]) -> list[Row]:
    """For each likelihood what the largest n costs over the smallest."""
    first, last = timings["sizes"][0], timings["sizes"][-1]
    return [
        Row(
            f"gradient, {likelihood['name']}",
            f"{times(spent[-1] / spent[0])} ({_in_words(spent[0])} to {_in_words(spent[-1])})",
            how=f"time of one gradient at n = {last:,} over n = {first}, one chain, in a loop "
            "within a program",
        )
        for likelihood in timings["likelihoods"]
        for spent in (likelihood["seconds"],)
    ]


def _in_words(spent: float) -> str:
    """Seconds in a unit that needs no exponent."""
    unit, name = next((u, n) for u, n in ((1, "s"), (1e-3, "ms"), (0, "µs")) if spent >= u)
    return f"{spent / (unit or 1e-6):.3g} {name}"
