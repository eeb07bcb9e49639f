"""List the experiments, one line each."""

import ast
from pathlib import Path


def main() -> None:
    """Print name and first docstring line of every experiment in this folder."""
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        summary = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()
        print(f"python -m experiments.{path.stem:<20} {summary[0] if summary else ''}")


if __name__ == "__main__":
    main()
