"""Long names and units: by entry, by ending, and by an experiment's own table."""

import pytest
import xarray as xr

from slt_jax.run.quantities import NATS, ONE, QUANTITIES, Quantity, labelled, quantity_of

OWN = {"gap": Quantity("gap", NATS), "n": Quantity("number of data", ONE)}


@pytest.mark.parametrize(
    ("name", "long_name", "units"),
    [
        ("n", "number of data", ONE),
        ("gap_error", "bound on the error of the gap", NATS),
        ("gap_se", "standard error of the gap", NATS),
        ("exact_gap", "exact gap", NATS),
        ("exact_gap_error", "bound on the error of the exact gap", NATS),
        (
            "functional_variance_se",
            "standard error of the functional variance",
            "nats^2",
        ),
        ("bayes_training_error", "Bayes training error", "nats per datum"),
    ],
)
def test_a_name_is_known_by_itself_or_by_its_parts(name: str, long_name: str, units: str) -> None:
    known = quantity_of(name, OWN)
    assert known is not None
    assert known.long_name.startswith(long_name)
    assert known.units == units


@pytest.mark.parametrize("name", ["gap", "unknown_error", "exact_", "_se"])
def test_other_names_are_not_known(name: str) -> None:
    assert quantity_of(name) is None


def test_every_quantity_is_a_phrase_in_units() -> None:
    for name, quantity in QUANTITIES.items():
        assert quantity.long_name
        assert not quantity.long_name.endswith("."), name
        assert quantity.units in ("nats", "nats per datum", "nats^2", "1", "text")


def test_a_label_that_is_there_stays_and_the_dataset_itself_is_left_alone() -> None:
    dataset = xr.Dataset({"gap": ("n", [1.0]), "waic": ("n", [1.0]), "x": 1.0}, {"n": [10]})
    dataset["waic"].attrs = {"units": "bits", "source": "elsewhere"}
    named = labelled(dataset, OWN)
    assert named["waic"].attrs == {"long_name": "WAIC", "units": "bits", "source": "elsewhere"}
    assert named["n"].attrs == {"long_name": "number of data", "units": ONE}
    assert named["x"].attrs == dataset["gap"].attrs == {}
    assert list(dataset["waic"].attrs) == ["units", "source"]
