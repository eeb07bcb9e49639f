"""The catalogue of named problems, written from the code: python -m slt_jax.report.catalogue"""

import argparse
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax

from slt_jax import theory
from slt_jax.data import simulate, statistics_of
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.oracles.structures import Structure
from slt_jax.problem import Problem
from slt_jax.run.store import replace_file

PAGE = Path("docs/catalogue.md")
COST_SIZE = 1000

HEADER = f"""# Catalogue of problems

Written by `python -m slt_jax.report.catalogue`, from the code. Every problem is a triplet of truth,
model and prior with a name; `slt_jax.named_problems()["NAME"]` returns it.

d: number of parameters. λ, m: learning coefficient and multiplicity of the theorem, with ≤ for an
upper bound and ? for a conjecture. ν: singular fluctuation, where it is known (λ for a realisable
regular problem). W₀: whether the set of optima can be drawn from. Oracle: how log Z is integrated
exactly, and the nodes that it takes at n = {COST_SIZE}, to which its cost is proportional (and to n
where data do not enter by sufficient statistics: graded panels in as many dimensions as the model
has parameters). Some oracles take many seconds for each data set and are made on request alone:
`oracle_for(problem, costly=True)`. A dash stands for unknown or absent.

| problem | what it is | d | λ | m | ν | W₀ | oracle | nodes | source of (λ, m) |
|---|---|---|---|---|---|---|---|---|---|
"""


def catalogue(problems: Mapping[str, Problem], nodes: Mapping[str, str]) -> str:
    """Write the page: one row for each problem, by name, with its ``nodes``."""
    rows = [_row(problems[name], nodes[name]) for name in sorted(problems)]
    return HEADER + "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


def _row(problem: Problem, nodes: str) -> list[str]:
    known = problem.theory
    coefficient, multiplicity, source = "—", "—", "—"
    if known is not None:
        mark = {"exact": "", "upper bound": "≤ ", "conjecture": "? "}[known.kind]
        coefficient = f"{mark}{known.learning_coefficient}"
        multiplicity, source = str(known.multiplicity), known.source
    structure = problem.model.exact(problem.optimum)
    return [
        f"`{problem.name}`",
        problem.title.removesuffix(" (unrealisable)") + _unless(problem.realisable),
        str(problem.model.dimension),
        coefficient,
        multiplicity,
        _fluctuation(problem),
        "yes" if problem.optimal_set is not None else "—",
        "—" if structure is None else oracle_route(structure),
        nodes,
        source,
    ]


def _unless(realisable: bool) -> str:
    return "" if realisable else "; unrealisable"


def _fluctuation(problem: Problem) -> str:
    dimension = problem.model.dimension
    regular = problem.realisable and problem.theory == theory.regular(dimension)
    return str(Fraction(dimension, 2)) if regular else "—"


def nodes_of(problem: Problem) -> str:
    """Count the nodes of the oracle's rule for one data set of n = COST_SIZE, as text."""
    oracle = oracle_for(problem)
    if oracle is None:
        return "—"
    data = simulate(problem, jax.random.key(0), COST_SIZE)
    return f"{oracle.num_nodes(statistics_of(problem, data)):,}"


def oracle_route(structure: Structure[Any]) -> str:
    """Say in words how the oracle of a model of this structure integrates it."""
    on_request = ", on request with `costly=True`" if structure.law.is_costly else ""
    return structure.describe() + on_request


def main(arguments: list[str] | None = None) -> None:
    """Write the page into the documentation of this checkout."""
    parser = argparse.ArgumentParser(prog="python -m slt_jax.report.catalogue", description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE, help="file to write")
    out: Path = parser.parse_args(arguments).out
    problems = named_problems()
    page = catalogue(problems, {name: nodes_of(problem) for name, problem in problems.items()})
    with replace_file(out) as temporary:
        temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
