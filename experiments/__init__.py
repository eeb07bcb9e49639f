"""One file per question: configuration, run, figure and verdict."""
