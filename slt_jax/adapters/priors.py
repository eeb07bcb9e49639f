"""Other priors for the parameters of a model, which stays a hashable constant all the same."""

import dataclasses
import functools
from typing import Any, TypeVar

import numpy as np
from numpyro.distributions import Distribution, constraints

from slt_jax.model import Model
from slt_jax.statistics import Params

M = TypeVar("M", bound=Model)


@dataclasses.dataclass(frozen=True)
class Prior:
    """A distribution on the line as a value: the numpyro family and its arguments in order.

    Distributions themselves are compared by identity, and would compile every program anew. Raises
    ValueError for arguments that the family does not take or that are not finite.
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

        Raises ValueError unless the distribution is a scalar one on the whole real line.
        """
        one = self.family(*self.arguments)
        if one.shape() != () or one.support is not constraints.real:
            raise ValueError(
                f"{self._written()} has support {one.support}; allowed: scalars on the real line"
            )
        return one.expand(shape)


def with_priors(model: M, **priors: Prior) -> M:
    """Return the model with other priors for the named parameters, each entry independent.

    The result is of a subclass of the model's class, so that it keeps its sufficient statistics,
    and equal models stay equal. It has no exact structure, since an oracle would integrate under
    the model's own priors. Raises ValueError for parameters that the model does not have, and as
    ``Prior.expanded`` does.
    """
    own = model.priors()
    unknown = sorted(set(priors) - set(own))
    if unknown:
        raise ValueError(f"parameters {', '.join(unknown)}: choose from {', '.join(own)}")
    for name, prior in priors.items():
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

    def exact(self: Any, optimum: Params) -> None:
        del self, optimum

    return dataclasses.make_dataclass(
        f"{family.__name__}WithPriors",
        [("changed_priors", tuple[tuple[str, Prior], ...])],
        bases=(family,),
        namespace={"priors": priors, "exact": exact},
        frozen=True,
        kw_only=True,
    )
