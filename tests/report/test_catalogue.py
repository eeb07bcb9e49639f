"""The catalogue page says what the code says."""

import dataclasses
from pathlib import Path

import pytest

from slt_jax import theory
from slt_jax.models import named_problems
from slt_jax.problem import Problem
from slt_jax.report.catalogue import PAGE, catalogue, main, nodes_of

NODES = 8


def page() -> str:
    return (Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8")


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split(" | ")]


def row_of(problem: Problem) -> list[str]:
    return cells(catalogue({"it": problem}, {"it": "17"}).splitlines()[-1])


def test_the_page_is_current() -> None:
    """If this fails, run python -m slt_jax.report.catalogue and read what has changed.

    The nodes are taken from the page here: the slow tests count them.
    """
    rows = [cells(line) for line in page().splitlines() if line.startswith("| `")]
    nodes = {row[0].strip("`"): row[NODES] for row in rows}
    assert nodes.keys() == named_problems().keys()
    assert catalogue(named_problems(), nodes) == page()


@pytest.mark.slow
def test_the_nodes_are_current(tmp_path: Path) -> None:
    main(["--out", str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page()


def test_a_row_follows_its_problem() -> None:
    problem = named_problems()["monomial_1_1"]
    row = row_of(problem)
    assert row[:7] == ["`monomial_1_1`", "y = w₁w₂x, truth 0", "2", "1/2", "2", "—", "yes"]
    assert row[7:9] == [
        "Gaussian block in closed form, Gauss rule of 1 pushed-forward product",
        "17",
    ]
    assert nodes_of(problem) == "17"
    bound = dataclasses.replace(problem.theory, kind="upper bound")
    changed = dataclasses.replace(problem, name="other", theory=bound, optimal_set=None)
    row = row_of(changed)
    assert (row[0], row[3], row[6]) == ("`other`", "≤ 1/2", "—")


def test_singular_fluctuation_is_given_where_it_is_known() -> None:
    """ν = λ = d/2 of a realisable regular problem, and nothing else is claimed."""
    assert named_problems()["linear_3"].theory == theory.regular(3)
    assert row_of(named_problems()["linear_3"])[5] == "3/2"
    wrong = row_of(named_problems()["legendre_4_misspecified"])
    assert (wrong[1][-14:], wrong[5]) == ("; unrealisable", "—")
