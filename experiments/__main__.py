"""List the experiments, one line each, or run one: python -m experiments [NAME ...]

The wheel brings this folder as ``slt_jax_experiments``, with the command slt-jax [NAME ...].
"""

import ast
import runpy
import sys
from pathlib import Path

from slt_jax.report.main import invocation
from slt_jax.validation import suggestion


def main() -> None:
    """Print command and question of every experiment in this folder, or run the one that is named.

    Ends the process with status 2 and one line for a name that is none of them.
    """
    folders = sorted(path.parent for path in Path(__file__).parent.glob("*/__main__.py"))
    names = [folder.name for folder in folders]
    if len(sys.argv) > 1 and sys.argv[1] not in ("-h", "--help"):
        name = sys.argv.pop(1)
        if name not in names:
            print(f"error: experiment {name!r}: {suggestion(name, names)}", file=sys.stderr)
            sys.exit(2)
        runpy.run_module(f"{__package__}.{name}", run_name="__main__")
        return
    for folder in folders:
        tree = ast.parse((folder / "__init__.py").read_text("utf-8"))
        question = (ast.get_docstring(tree) or "").splitlines()[0]
        print(f"{invocation(f'{__package__}.{folder.name}'):<40} {question}")


if __name__ == "__main__":
    main()
