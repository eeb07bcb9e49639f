"""Other priors for the parameters of a model, which stays a hashable constant all the same."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from jax import Array
from numpyro.distributions import Distribution, ExpandedDistribution, Normal, Uniform

from slt_jax.model import Model
from slt_jax.oracles.laws.box import Coordinate, normal_coordinate
from slt_jax.oracles.laws.cells import CellsLatent
from slt_jax.oracles.structures import Direct
from slt_jax.priors import parameter_shapes
from slt_jax.statistics import Params

# Cells settle well enough in so many dimensions for what they leave in doubt to be a bound.
MOST_COORDINATES = 2

M = TypeVar("M", bound=Model)


@dataclasses.dataclass(frozen=True)
class Prior:
    """A distribution of a number as a value: the numpyro family and its arguments in order.

    Distributions themselves are compared by identity, and would compile every program anew. Raises
    ValueError for arguments that the family does not take or that are not finite.

    >>> import numpyro.distributions as dist
    >>> Prior(dist.Uniform, (-1.0, 1.0)).expanded((2,)).shape()
    (2,)
    """

    family: type[Distribution]
    arguments: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        allowed = ", ".join(f"{name} in {c}" for name, c in self.family.arg_constraints.items())
        try:
            self.family(*self.arguments, validate_args=True)
            finite = all(np.all(np.isfinite(argument)) for argument in self.arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._written()}: {error}; allowed: {allowed}") from error
        if not finite:
            raise ValueError(f"{self._written()}: arguments must be finite")

    def _written(self) -> str:
        return " ".join(f"{self.family.__name__}{self.arguments}".split())

    def expanded(self, shape: tuple[int, ...]) -> Distribution:
        """Return independent copies in an array of a shape.

        Raises ValueError unless the distribution is a continuous one of a number.
        """
        one = self.family(*self.arguments)
        if one.shape() != () or one.support.is_discrete:
            raise ValueError(
                f"{self._written()} has shape {one.shape()} and support {one.support}; allowed: "
                "continuous distributions of a number"
            )
        return one.expand(shape)


def with_priors(model: M, **priors: Prior) -> M:
    """Return the model with other priors for the named parameters, each entry independent.

    The result is of a subclass of the model's class, so that it keeps its sufficient statistics,
    and equal models stay equal. With one or two parameters, of uniform or centred normal priors,
    its oracle is direct quadrature; otherwise it has none, since the model's own would integrate
    under the model's own priors. Raises ValueError for parameters that the model does not have, for
    those whose prior depends on others, and as ``Prior.expanded`` does.

    >>> import numpy as np
    >>> import numpyro.distributions as dist
    >>> import slt_jax as slt
    >>> from slt_jax.models.monomial import MonomialRegression
    >>> box = with_priors(MonomialRegression(), w=Prior(dist.Uniform, (-1.0, 1.0)))
    >>> problem = slt.Problem("box", box, {"w": np.zeros(2)})
    >>> slt.oracle_for(problem).structure.describe()
    'adaptive cells in 2 dimensions'
    """
    own = model.priors()
    unknown = sorted(set(priors) - set(own))
    if unknown:
        raise ValueError(f"parameters {', '.join(unknown)}: choose from {', '.join(own)}")
    for name, prior in priors.items():
        if not isinstance(own[name], Distribution):
            raise ValueError(f"prior of {name!r} depends on other parameters: it must stay")
        prior.expanded(own[name].shape())
    values = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    changed = {**dict(values.pop("changed_priors", ())), **priors}
    family: Any = type(model)
    if "changed_priors" not in {field.name for field in dataclasses.fields(family)}:
        family = _with_changed_priors(family)
    return family(**values, changed_priors=tuple(sorted(changed.items())))


@functools.cache
def _with_changed_priors(family: type[Model]) -> type[Model]:
    """Make a subclass with a field of changed priors; other priors are those of ``family``."""

    def priors(self: Any) -> dict[str, Distribution]:
        own = family.priors(self)
        return own | {name: p.expanded(own[name].shape()) for name, p in self.changed_priors}

    def exact(self: Any, optimum: Params) -> Direct | None:
        del optimum
        return cells_of(self.priors())

    def from_latent(self: Any, latent: Array) -> Params:
        return entries(self.priors(), latent)

    return dataclasses.make_dataclass(
        f"{family.__name__}WithPriors",
        [("changed_priors", tuple[tuple[str, Prior], ...])],
        bases=(family,),
        namespace={"priors": priors, "exact": exact, "from_latent": from_latent},
        frozen=True,
        kw_only=True,
    )


def cells_of(priors: Mapping[str, Any]) -> Direct | None:
    """Return direct quadrature of one or two parameters; None for others, and other priors."""
    coordinates = _coordinates(priors)
    if coordinates is None or not 1 <= len(coordinates) <= MOST_COORDINATES:
        return None
    return Direct(CellsLatent(coordinates))


def entries(priors: Mapping[str, Any], latent: Array) -> Params:
    """Return the parameters whose entries are the latent of ``cells_of`` [l], in its order."""
    params, start = {}, 0
    for name, shape in parameter_shapes(priors).items():
        stop = start + math.prod(shape)
        params[name], start = latent[start:stop].reshape(shape), stop
    return params


def _coordinates(priors: Mapping[str, Any]) -> tuple[Coordinate, ...] | None:
    """Return the entries of all parameters, None unless each is uniform or N(0, scale²)."""
    coordinates: list[Coordinate] = []
    for prior in priors.values():
        base = prior.base_dist if isinstance(prior, ExpandedDistribution) else prior
        if isinstance(base, Uniform):
            ends = (np.broadcast_to(end, prior.shape()).ravel() for end in (base.low, base.high))
            coordinates += [Coordinate(float(a), float(b)) for a, b in zip(*ends, strict=True)]
        elif isinstance(base, Normal) and not np.any(base.loc):
            scales = np.broadcast_to(base.scale, prior.shape()).ravel()
            coordinates += [normal_coordinate(float(scale)) for scale in scales]
        else:
            return None
    return tuple(coordinates)
