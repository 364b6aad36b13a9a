r"""Runs the benchmarks and reads what they print."""

import runpy
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"


def benchmark(name):
    return runpy.run_path(str(BENCHMARKS / name))


def printed_rows(output):
    r"""Return {name: cells} of the rows of the printed tables."""
    lines = [line.strip("| ").split(" | ") for line in output.splitlines()]
    return {name: cells for name, *cells in lines if cells}
