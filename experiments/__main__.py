"""List the experiments, one line each, or run one: python -m experiments [NAME ...]"""

import ast
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Print name and question of every experiment in this folder, or run the one that is named.

    Ends the process with status 2 and one line for a name that is none of them.
    """
    folders = sorted(path.parent for path in Path(__file__).parent.glob("*/__main__.py"))
    names = [folder.name for folder in folders]
    if len(sys.argv) > 1:
        name = sys.argv.pop(1)
        if name not in names:
            sys.exit(f"error: experiment {name!r}: choose from {', '.join(names)}")
        runpy.run_module(f"experiments.{name}", run_name="__main__")
        return
    for folder in folders:
        tree = ast.parse((folder / "__init__.py").read_text("utf-8"))
        question = (ast.get_docstring(tree) or "").splitlines()[0]
        print(f"python -m experiments.{folder.name:<20} {question}")


if __name__ == "__main__":
    main()
