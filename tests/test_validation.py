"""Fields of models are keywords of a declared type within declared bounds, or refused."""

import dataclasses
import typing
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpyro.distributions as dist
import pytest

from slt_jax.adapters import flax_module, numpyro_model
from slt_jax.adapters.priors import Prior, with_priors
from slt_jax.model import FeatureRegression, Model, Regression
from slt_jax.models import named_problems
from slt_jax.models.boolean_net import BooleanNet
from slt_jax.models.monomial import MonomialRegression
from slt_jax.models.power_law import PowerLawRegression
from slt_jax.models.skalse import SkalsePolynomial
from slt_jax.models.tanh_net import TanhNet
from slt_jax.validation import (
    Above,
    AtLeast,
    Between,
    Different,
    Increasing,
    OrMore,
    Positive,
    Size,
    Within,
    check,
    check_fields,
    refuse_first,
)

if TYPE_CHECKING:
    from fractions import Fraction

PROBLEMS = named_problems()
FAMILIES = {type(problem.model) for problem in PROBLEMS.values()}
ADAPTERS = {
    flax_module.FlaxModel,
    flax_module.FlaxRegression,
    flax_module.FlaxClassification,
    numpyro_model.NumpyroModel,
}


@pytest.mark.parametrize(
    "family",
    sorted({Model, Regression, FeatureRegression} | FAMILIES | ADAPTERS, key=lambda c: c.__name__),
)
def test_fields_are_keywords(family):
    """A positional argument would be the noise, or any other field that is inherited."""
    assert all(field.kw_only for field in dataclasses.fields(family))


def test_a_positional_argument_is_refused():
    with pytest.raises(TypeError, match="positional"):
        TanhNet(3)
    model = with_priors(TanhNet(hidden_dim=3), a=Prior(dist.Laplace, (0.0, 1.0)))
    with pytest.raises(TypeError, match="positional"):
        type(model)(3)


@pytest.mark.parametrize("family", sorted(FAMILIES, key=lambda c: c.__name__))
def test_every_field_is_checked(family):
    """No field takes a value of another type, −1 where it is a number, or a tuple of that."""
    for field in dataclasses.fields(family):
        for wrong in (object, complex(1), np.nan, "wrong", -1, (-1,)):
            with pytest.raises(ValueError) as error:
                family(**{field.name: wrong})
            assert str(error.value).startswith(field.name)
            assert "must be" in str(error.value)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("family", "fields", "message"),
    [
        (TanhNet, {"noise": 0.0}, "noise = 0.0: must be a number > 0 and finite"),
        (TanhNet, {"noise": np.inf}, "noise = inf: must be a number > 0 and finite"),
        (TanhNet, {"noise": True}, "noise = True: must be a number > 0 and finite"),
        (SkalsePolynomial, {"prior_scale": 0}, "prior_scale = 0: must be a number > 0 and finite"),
        (TanhNet, {"hidden_dim": 2.0}, "hidden_dim = 2.0: must be an integer ≥ 0"),
        (TanhNet, {"hidden_dim": True}, "hidden_dim = True: must be an integer ≥ 0"),
        (MonomialRegression, {"exponents": (1, 0)}, "exponents[1] = 0: must be an integer ≥ 1"),
        (MonomialRegression, {"exponents": (1.5,)}, "exponents[0] = 1.5: must be an integer ≥ 1"),
        (
            MonomialRegression,
            {"exponents": ()},
            "exponents = (): must be a tuple with 1 or more entries",
        ),
        (
            MonomialRegression,
            {"exponents": [1, 1]},
            "exponents = [1, 1]: must be a tuple with 1 or more entries",
        ),
        (BooleanNet, {"activation": "elu"}, "activation = 'elu': must be one of tanh, relu"),
        (BooleanNet, {"signed": 1}, "signed = 1: must be True or False"),
        (PowerLawRegression, {"alpha": -1.0}, "alpha = -1.0: must be a number > -1 and finite"),
    ],
)
def test_refusals_name_field_value_and_what_is_allowed(family, fields, message):
    with pytest.raises(ValueError) as error:
        family(**fields)
    assert str(error.value) == message


def test_numpy_numbers_are_numbers():
    model = MonomialRegression(exponents=(np.int64(2), 1), noise=np.float32(0.5), prior_scale=2)
    assert model == MonomialRegression(exponents=(2, 1), noise=0.5, prior_scale=2.0)


def test_bounds_hold_after_a_replacement_and_a_change_of_priors():
    model = with_priors(TanhNet(hidden_dim=2), b=Prior(dist.Laplace, (0.0, 1.0)))
    for one in (model, TanhNet()):
        with pytest.raises(ValueError, match="noise = -1"):
            dataclasses.replace(one, noise=-1)


@dataclasses.dataclass(frozen=True)
class Newcomer:
    """Types that are checked, others, and an annotation that only a type checker can read."""

    size: Size = 0
    pair: Annotated[tuple[float, ...], OrMore(2)] = (0.0, 1.0)
    refinement: Literal[1, 2] = 1
    any_of: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class Later(Newcomer):
    share: "Fraction | None" = None
    count: "Annotated[int, AtLeast(1)]" = 1


def test_what_is_not_declared_is_not_checked():
    assert Newcomer(any_of=["anything"]).any_of == ["anything"]
    assert Later(share=0.5, count=-1).count == -1
    with pytest.raises(ValueError, match="size = -1"):
        Later(size=-1)


@pytest.mark.parametrize(
    "wrong", [{"size": -1}, {"pair": (1.0,)}, {"pair": (1.0, "a")}, {"refinement": 3}]
)
def test_declared_fields_of_any_dataclass_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Newcomer(**wrong)


SHARE = Annotated[float, Within(0, 1)]
OPEN_SHARE = Annotated[float, Between(0, 1)]
SIZES = Annotated[tuple[Size, ...], OrMore(2), Increasing()]
NAMES = Annotated[tuple[str, ...], OrMore(1), Different()]


@pytest.mark.parametrize(
    ("declared", "allowed", "refused", "message"),
    [
        (Annotated[int, AtLeast(2)], (2, 10**9), (1, -2), "an integer ≥ 2"),
        (Annotated[float, Above(2)], (2.1, 10**9), (2, 1.9, np.inf), "a number > 2 and finite"),
        (SHARE, (0, 1, 0.5), (-1e-9, 1 + 1e-9, np.nan, np.inf), "a number from 0 to 1"),
        (OPEN_SHARE, (1e-9, 0.5), (0, 1, 1.5, np.nan), "a number above 0 and below 1"),
        (SIZES, ((1, 2), (0, 5, 7)), ((2, 1), (1, 1), (1, 3, 2)), "that increases"),
        (SIZES, ((1, 2),), ((), (1,)), "with 2 or more entries"),
        (NAMES, (("a",), ("a", "b")), (("a", "a"), ("a", "b", "a")), "without repetitions"),
    ],
    ids=["AtLeast", "Above", "Within", "Between", "Increasing", "OrMore", "Different"],
)
def test_each_bound_allows_and_refuses(declared, allowed, refused, message):
    for value in allowed:
        check("field", value, declared)
    for value in refused:
        with pytest.raises(ValueError) as error:
            check("field", value, declared)
        assert str(error.value).startswith(f"field = {value}: must be ")
        assert message in str(error.value)


def test_an_entry_of_a_tuple_is_named():
    with pytest.raises(ValueError, match=r"^field\[1\] = 1.5: must be an integer ≥ 0$"):
        check("field", (1, 1.5), SIZES)
    # Before the bounds of the whole, which could not compare it with the others.
    with pytest.raises(ValueError, match=r"^field\[1\] = 'a': must be an integer ≥ 0$"):
        check("field", (1, "a"), SIZES)


@dataclasses.dataclass(frozen=True)
class Optional:
    """Fields that may be None, in both spellings, and a choice that is no bound."""

    share: SHARE | None = None
    sizes: "SIZES | None" = None
    scale: typing.Optional[Positive] = None  # noqa: UP045
    way: Literal["up", "down"] | None = None
    either: int | str | None = None

    def __post_init__(self):
        check_fields(self)


def test_fields_that_may_be_none():
    assert Optional() == Optional(share=None, sizes=None, scale=None, way=None, either=None)
    full = Optional(share=1.0, sizes=(1, 2), scale=0.5, way="up", either="anything")
    assert full.sizes == (1, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"share": 2.0}, "share = 2.0: must be a number from 0 to 1"),
        ({"share": "half"}, "share = 'half': must be a number from 0 to 1"),
        (
            {"sizes": (2, 1)},
            "sizes = (2, 1): must be a tuple with 2 or more entries that increases",
        ),
        ({"sizes": (1, 2.5)}, "sizes[1] = 2.5: must be an integer ≥ 0"),
        ({"scale": 0.0}, "scale = 0.0: must be a number > 0 and finite"),
        ({"way": "left"}, "way = 'left': must be one of up, down"),
    ],
)
def test_fields_that_may_be_none_are_bounded_if_they_are_not(fields, message):
    with pytest.raises(ValueError) as error:
        Optional(**fields)
    assert str(error.value) == message


def test_the_first_entry_that_is_out_is_named():
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    refuse_first("v", values, values > 0, "allowed: > 0")
    with pytest.raises(ValueError, match=r"^v\[1, 0\] is 3.0; allowed: < 3$"):
        refuse_first("v", values, values < 3, "allowed: < 3")
    with pytest.raises(ValueError, match=r"^v\[1\] is \[3. 4.\]; allowed"):
        refuse_first("v", values, np.array([True, False]), "allowed")
