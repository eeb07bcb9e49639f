"""Any numpyro model as a model, on the whole real space."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.distributions import biject_to, constraints

from slt_jax.model import SUMMED_AT_ONCE, Model, Support
from slt_jax.statistics import Data, Params
from slt_jax.validation import refuse_first


class _Whole(constraints.ParameterFreeConstraint):  # type: ignore[misc] # numpyro has no types
    is_discrete = True

    def __call__(self, x: Any) -> Any:
        return x % 1 == 0

    def __repr__(self) -> str:
        return "whole numbers"


@dataclass(frozen=True, kw_only=True)
class NumpyroModel(Model):
    """The model that ``function(x, y=None)`` of n data [n, …] describes, called with n = 1.

    Its latent sites, whatever their supports and however one depends on another, are one vector
    ``w`` [d] on the whole real space: in the order of their names, each through the inverse of
    ``biject_to(support)``, whose Jacobian is in the prior. The site ``observed``, which is y, is
    the likelihood of one datum; y is a float, and the likelihood 0 where it is outside the support
    of the site. ``sample_input`` maps a key to one x. Both functions are compared by identity, so
    that equal models need the same ones.

    Raises ValueError where there is no such site, where another one is observed (a factor, too),
    where the site is not one datum for one x, and for discrete latent sites. The latent sites must
    not depend on x, n or y.
    """

    function: Callable[..., Any]
    sample_input: Callable[[Array], Array]
    observed: str = "y"

    def __post_init__(self) -> None:
        super().__post_init__()

        def check(key: Array) -> None:
            sites = _samples(self._trace(key, self._some_input(), None, lambda site: None))
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

    def priors(self) -> dict[str, dist.Distribution]:
        return {"w": _UnconstrainedPrior(self)}

    def log_likelihood(self, params: Params, x: Array, y: Array) -> Array:
        site = self._observed_at(params["w"], x, y)
        support, value = site["fn"].support, site["value"]
        # Densities of numpyro are not zero outside their support, and class labels are indices.
        inside = jnp.all(support(value))
        value = jnp.where(inside, value, support.feasible_like(value))
        value = value.astype(int) if support.is_discrete else value
        return jnp.where(inside, jnp.sum(site["fn"].log_prob(value)), -jnp.inf)

    def support(self) -> Support:
        """Return the support of the observed site, or as much as is the same at every x and w."""
        support = self._declared_support()
        if _is_known(support):
            return Support(y=support)
        return Support(y=_Whole() if support.is_discrete else constraints.real)

    def check_support(self, data: Data) -> None:
        super().check_support(data)
        if not _is_known(self._declared_support()):
            self._check_each(data)

    def _check_each(self, data: Data) -> None:
        """Check each datum where the support differs from x to x.

        A support that depends on w allows all data.
        """
        first = (data.x[0], data.y[0])
        here, there = (self._support_at(self.draw(jax.random.key(i)), *first) for i in (0, 1))
        if not all(map(np.array_equal, jax.tree.leaves(here), jax.tree.leaves(there))):
            return
        w = self.draw(jax.random.key(0))

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
            supports.append(self._support_at(self.draw(key), self._some_input(), None))

        jax.eval_shape(look, jax.random.key(0))
        return supports[0]

    def _support_at(self, w: Array, x: Array, y: Array | None) -> Any:
        return self._observed_at(w, x, y)["fn"].support

    def _observed_at(self, w: Array, x: Array, y: Array | None) -> dict[str, Any]:
        sites, _ = self._at(w, jax.random.key(0), x, y)
        return sites[self.observed]

    def simulate(self, params: Params, key: Array) -> tuple[Array, Array]:
        key_x, key_y = jax.random.split(key)
        x = self.sample_input(key_x)
        sites, _ = self._at(params["w"], key_y, x, None)
        return x, sites[self.observed]["value"][0].astype(float)

    def unconstrained(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Return the parameters at which the latent sites have the given values.

        Raises ValueError if the names are not those of the latent sites.
        """
        expected = self._shapes()
        if set(values) != set(expected):
            raise ValueError(f"sites {sorted(values)}: must be {', '.join(expected)}")
        given = {name: jnp.asarray(value, float) for name, value in values.items()}
        return self._flat(jax.random.key(0), given.get)

    def draw(self, key: Array) -> Array:
        """Draw w [d] from the prior."""
        return self._flat(key, lambda name: None)["w"]

    def log_density(self, w: Array) -> Array:
        """Return log φ(w) with the Jacobians of the sites, in nats."""
        sites, log_jacobian = self._at(w, jax.random.key(0), self._some_input(), None)
        return log_jacobian + sum(
            _log_prob(site) for name, site in sites.items() if name != self.observed
        )

    def _flat(self, key: Array, value_of: Callable[[str], Array | None]) -> dict[str, Array]:
        parts = self._parts(key, value_of)
        return {"w": jnp.concatenate([parts[name].ravel() for name in parts])}

    def _parts(self, key: Array, value_of: Callable[[str], Array | None]) -> dict[str, Array]:
        """Map latent sites to the real line, by name, at values that are given or drawn."""
        trace = self._trace(key, self._some_input(), None, lambda site: value_of(site["name"]))
        return {
            name: biject_to(site["fn"].support).inv(site["value"])
            for name, site in sorted(_samples(trace).items())
            if name != self.observed
        }

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        parts = jax.eval_shape(lambda key: self._parts(key, lambda name: None), jax.random.key(0))
        return {name: part.shape for name, part in parts.items()}

    def _at(self, w: Array, key: Array, x: Array, y: Array | None) -> tuple[dict[str, Any], Array]:
        """Return all sites with the latent ones at w, and the log Jacobian of these."""
        parts, start = {}, 0
        for name, shape in self._shapes().items():
            stop = start + math.prod(shape)
            parts[name], start = w[start:stop].reshape(shape), stop
        log_jacobians = [jnp.zeros((), w.dtype)]

        def constrained(site: dict[str, Any]) -> Array | None:
            if site["type"] != "sample" or site["name"] not in parts:
                return None
            part = parts[site["name"]]
            transform = biject_to(site["fn"].support)
            value = transform(part)
            log_jacobians.append(jnp.sum(transform.log_abs_det_jacobian(part, value)))
            return value

        sites = _samples(self._trace(key, x, y, constrained))
        return sites, sum(log_jacobians[1:], log_jacobians[0])

    def _trace(
        self,
        key: Array,
        x: Array,
        y: Array | None,
        value_of: Callable[[dict[str, Any]], Array | None],
    ) -> dict[str, Any]:
        """Trace one call with a single datum at the values that ``value_of`` gives."""
        function = handlers.substitute(self.function, substitute_fn=value_of)
        datum = (jnp.expand_dims(x, 0), None if y is None else jnp.expand_dims(y, 0))
        return handlers.trace(handlers.seed(function, key)).get_trace(*datum)

    def _some_input(self) -> Array:
        example = jax.eval_shape(self.sample_input, jax.random.key(0))
        if not isinstance(example, jax.ShapeDtypeStruct):
            raise ValueError(f"sample_input returns {example}; allowed: one array")
        return jnp.zeros(example.shape, example.dtype)


class _UnconstrainedPrior(dist.Distribution):  # type: ignore[misc] # numpyro has no types
    """The joint prior of all latent sites of a ``NumpyroModel``."""

    support = constraints.real_vector

    def __init__(self, model: NumpyroModel) -> None:
        self.model = model
        size = sum(math.prod(shape) for shape in model._shapes().values())
        super().__init__(event_shape=(size,), validate_args=False)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        keys = jax.random.split(key, math.prod(sample_shape))
        return jax.vmap(self.model.draw)(keys).reshape(*sample_shape, *self.event_shape)

    def log_prob(self, value: Array) -> Array:
        density = self.model.log_density
        for _ in range(jnp.ndim(value) - 1):
            density = jax.vmap(density)
        return density(value)


def _is_known(support: Any) -> bool:
    return not any(isinstance(bound, jax.Array) for bound in jax.tree.leaves(support))


def _samples(trace: dict[str, Any]) -> dict[str, Any]:
    return {name: site for name, site in trace.items() if site["type"] == "sample"}


def _log_prob(site: dict[str, Any]) -> Array:
    return jnp.sum(site["fn"].log_prob(site["value"]))
