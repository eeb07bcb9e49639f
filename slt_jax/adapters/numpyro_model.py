"""Any numpyro model as a model, whose parameters are its latent sites."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.distributions import Distribution, constraints

from slt_jax.model import SUMMED_AT_ONCE, Model, Support
from slt_jax.statistics import Data, Params
from slt_jax.validation import real_array, refuse_first


class _Whole(constraints.ParameterFreeConstraint):  # type: ignore[misc] # numpyro has no types
    is_discrete = True

    def __call__(self, x: Any) -> Any:
        return x % 1 == 0

    def __repr__(self) -> str:
        return "whole numbers"


Example = float | tuple["Example", ...]


@dataclass(frozen=True, kw_only=True)
class NumpyroModel(Model):
    """The model that ``function(x, y=None)`` of n data [n, …] describes, called with any n.

    Its latent sites, whatever their supports and however one depends on another, are the
    parameters, by their names. The site ``observed``, which is y, is the likelihood of one datum;
    y is a float, and the likelihood 0 where it is outside the support of the site.

    ``sample_input`` maps a key to one x; without it nothing can be simulated. ``example`` is one x
    that the model is looked at with; by default one is drawn, or is the first of the data that
    ``exact``, ``sample`` and ``compare`` are given. Both functions are compared by identity, so
    that equal models need the same ones.

    Raises ValueError where there is no such site, where another one is observed (a factor, too),
    where the site is not one datum for one x, for discrete latent sites, where an x is needed and
    none is known, and for data whose densities depend on one another given the latent sites. These
    must not depend on x, n or y.

    >>> import numpyro
    >>> import numpyro.distributions as dist
    >>> def schools(x, y=None):  # x is the standard error of an effect y
    ...     mu = numpyro.sample("mu", dist.Normal(0, 5))
    ...     tau = numpyro.sample("tau", dist.HalfCauchy(5))
    ...     numpyro.sample("y", dist.Normal(mu, (tau**2 + x**2) ** 0.5), obs=y)
    >>> model = NumpyroModel(function=schools, example=15.0)  # or no example, and data later
    >>> list(model.priors()), model.dimension
    (['mu', 'tau'], 2)
    """

    function: Callable[..., Any]
    sample_input: Callable[[Array], Array] | None = None
    example: Example | None = None
    observed: str = "y"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.example is not None:
            object.__setattr__(self, "example", _as_tuples(self.example))
        elif self.sample_input is None:
            return  # until there are data

        def check(key: Array) -> None:
            sites = self._sites(key, self._some_inputs(key))
            if self.observed not in sites:
                raise ValueError(f"observed = {self.observed!r}: sites are {', '.join(sites)}")
            for name, site in sites.items():
                if site["is_observed"]:
                    raise ValueError(f"site {name!r} is observed; allowed: {self.observed!r}")
                if name != self.observed and site["fn"].support.is_discrete:
                    raise ValueError(f"site {name!r} is discrete; latent sites are continuous")
            shape = sites[self.observed]["value"].shape
            if shape[:1] != (1,):
                raise ValueError(
                    f"site {self.observed!r} has shape {shape}; allowed for one x: (1, …)"
                )

        jax.eval_shape(check, jax.random.key(0))

    def looking_at(self, data: Data) -> Model:
        knows_one = self.example is not None or self.sample_input is not None
        given: Any = data.x
        x = np.zeros((1, 0)) if given is None else real_array("x", given)
        is_none = x.ndim == 0 or len(x) == 0  # and refused as such later on
        return self if knows_one or is_none else dataclasses.replace(self, example=x[0])

    def priors(self) -> dict[str, Distribution]:
        return {name: functools.partial(self._prior, name) for name in self._latent_names()}

    def _prior(self, name: str, params: Params) -> Distribution:
        """Return the distribution of a latent site given those before it, where the call ends."""

        def value_of(site: dict[str, Any]) -> Array | None:
            if site["type"] == "sample" and site["name"] == name:
                raise _ReachedError(site["fn"])
            return params.get(site["name"])

        key = jax.random.key(0)
        try:
            self._sites(key, self._some_inputs(key), None, value_of)
        except _ReachedError as reached:
            return reached.distribution
        raise ValueError(f"site {name!r} is there for some parameters only")

    def _latent_names(self) -> list[str]:
        names: list[str] = []

        def look(key: Array) -> None:
            names.extend(self._sites(key, self._some_inputs(key)))

        jax.eval_shape(look, jax.random.key(0))
        return [name for name in names if name != self.observed]

    def log_likelihood(self, params: Params, x: Array, y: Array) -> Array:
        terms = self._terms(params, jnp.expand_dims(x, 0), jnp.expand_dims(y, 0))
        assert terms is not None
        return terms[0]

    def log_likelihoods(self, params: Params, data: Data) -> Array:
        """Call the function with all data at once: arrays [chain, datum, 1] are not vectorised."""
        terms = self._terms(params, *map(jnp.asarray, data))
        return super().log_likelihoods(params, data) if terms is None else terms

    def _terms(self, params: Params, x: Array, y: Array) -> Array | None:
        """Return ℓ_i [n] of n data, None where the site has but one density of several data."""
        site = self._at(params, jax.random.key(0), x, y)[self.observed]
        support, value, n = site["fn"].support, site["value"], len(y)
        of_values = value.shape[: value.ndim - site["fn"].event_dim]
        if n > 1 and jnp.broadcast_shapes(site["fn"].batch_shape, of_values)[:1] != (n,):
            return None
        # Densities of numpyro are not zero outside their support, and class labels are indices.
        inside = jnp.all(support(value).reshape(n, -1), axis=1)
        each = inside.reshape(n, *(1,) * (value.ndim - 1))
        value = jnp.where(each, value, support.feasible_like(value))
        value = value.astype(int) if support.is_discrete else value
        log_density = jnp.sum(site["fn"].log_prob(value).reshape(n, -1), axis=1)
        return jnp.where(inside, log_density, -jnp.inf)

    def support(self) -> Support:
        """Return the support of the observed site, or as much as is the same at every x and w."""
        support = self._declared_support()
        if _is_known(support):
            return Support(y=support)
        return Support(y=_Whole() if support.is_discrete else constraints.real)

    def check_support(self, data: Data) -> None:
        super().check_support(data)
        if len(data.y) > 1:
            self._check_independence(Data(*(part[:2] for part in data)))
        if not _is_known(self._declared_support()):
            self._check_each(data)

    def _check_independence(self, two: Data) -> None:
        """Refuse a function by which the density of one datum depends on which others there are."""
        w = self._draw(0)
        together = self.log_likelihoods(w, two)
        alone = super().log_likelihoods(w, two)
        if not np.allclose(together, alone, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"function: log p of the first 2 data is {together} together and {alone} alone; "
                "data must be independent given the latent sites"
            )

    def _check_each(self, data: Data) -> None:
        """Check each datum where the support differs from x to x.

        A support that depends on w allows all data.
        """
        first = (data.x[0], data.y[0])
        here, there = (self._support_at(self._draw(i), *first) for i in (0, 1))
        if not all(map(np.array_equal, jax.tree.leaves(here), jax.tree.leaves(there))):
            return
        w = self._draw(0)

        def inside(datum: Data) -> Array:
            return jnp.all(self._support_at(w, *datum)(datum.y[None]))

        mask = np.asarray(jax.lax.map(inside, data, batch_size=SUMMED_AT_ONCE))
        if not np.all(mask):
            place = np.argmin(mask)
            allowed = self._support_at(w, data.x[place], data.y[place])
            refuse_first("y", np.asarray(data.y), mask, f"allowed at its x: {allowed}")

    def _declared_support(self) -> Any:
        """Return the support of the observed site; bounds that are computed are abstract."""
        supports = []

        def look(key: Array) -> None:
            supports.append(
                self._support_at(self.sample_prior(key), self._some_inputs(key)[0], None)
            )

        jax.eval_shape(look, jax.random.key(0))
        return supports[0]

    def _draw(self, seed: int) -> Params:
        return self.sample_prior(jax.random.key(seed))

    def _support_at(self, params: Params, x: Array, y: Array | None) -> Any:
        return self._observed_at(params, x, y)["fn"].support

    def _observed_at(self, params: Params, x: Array, y: Array | None) -> dict[str, Any]:
        data = (jnp.expand_dims(x, 0), None if y is None else jnp.expand_dims(y, 0))
        return self._at(params, jax.random.key(0), *data)[self.observed]

    def simulate(self, params: Params, key: Array) -> tuple[Array, Array]:
        if self.sample_input is None:
            raise ValueError("sample_input = None: it must be given to simulate data")
        key_x, key_y = jax.random.split(key)
        x = self.sample_input(key_x)
        return x, self._simulated(params, key_y, x)

    def example_datum(self, params: Params, key: Array) -> tuple[Array, Array]:
        x = self._some_inputs(key)[0]
        return x, self._simulated(params, key, x)

    def _simulated(self, params: Params, key: Array, x: Array) -> Array:
        sites = self._at(params, key, jnp.expand_dims(x, 0), None)
        return sites[self.observed]["value"][0].astype(float)

    def _at(self, params: Params, key: Array, x: Array, y: Array | None) -> dict[str, Any]:
        """Return all sites with the latent ones at the parameters."""

        def value_of(site: dict[str, Any]) -> Array | None:
            return params.get(site["name"]) if site["type"] == "sample" else None

        return self._sites(key, x, y, value_of)

    def _sites(
        self,
        key: Array,
        x: Array,
        y: Array | None = None,
        value_of: Callable[[dict[str, Any]], Array | None] = lambda site: None,
    ) -> dict[str, Any]:
        """Trace one call with data x [n, …] at the values that ``value_of`` gives."""
        function = handlers.substitute(self.function, substitute_fn=value_of)
        trace = handlers.trace(handlers.seed(function, key)).get_trace(x, y)
        return {name: site for name, site in trace.items() if site["type"] == "sample"}

    def _some_inputs(self, key: Array) -> Array:
        """Return the example or a draw, as x of one datum [1, …].

        At zeros a scale that is a column of x would be refused.
        """
        if self.example is not None:
            return jnp.asarray(np.asarray(self.example))[None]
        if self.sample_input is None:
            raise ValueError("sample_input = None and example = None: one of them must be given")
        x = self.sample_input(key)
        if not isinstance(x, jax.Array):
            raise ValueError(f"sample_input returns {x}; allowed: one array")
        return jnp.expand_dims(x, 0)


class _ReachedError(Exception):
    """A call has come to the site that it was made for."""

    def __init__(self, distribution: Distribution) -> None:
        super().__init__()
        self.distribution = distribution


def _as_tuples(values: Any) -> Any:
    """Return nested tuples of numbers, which are hashable, in place of an array."""
    if np.ndim(values) == 0:
        return np.asarray(values).item()
    return tuple(map(_as_tuples, np.asarray(values)))


def _is_known(support: Any) -> bool:
    return not any(isinstance(bound, jax.Array) for bound in jax.tree.leaves(support))
