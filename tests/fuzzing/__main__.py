r"""Odd data, parameters and files: a sane result or a documented error.

The test suite runs some cases. ``python -m tests.fuzzing --cases 20000 --seed 0`` runs
any number of them, and stops at the first failure with a small example of it. ``--only
quality`` runs a single check.
"""

import argparse
import math
import time

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from .checks import check_fit, check_sequence
from .files import check_load, check_otto, damaged, saved_model, tables
from .inputs import fits, sequences
from .optimum import check_optimum
from .quality import check_quality, disturbances

# Cases of one run of hypothesis, which keeps all cases of a run and becomes slow.
BATCH = 250


def run(strategy, check, n_cases, seed=None):
    r"""Check a number of cases, the same ones in each call unless a seed is given."""
    # A case is a few numbers; shrinking it would take long and help little.
    is_short = check in (check_quality, check_optimum)
    phases = [Phase.generate] if is_short else [Phase.generate, Phase.shrink]

    @settings(
        max_examples=n_cases,
        derandomize=seed is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
    )
    @given(strategy)
    def checked(case):
        check(case)

    (checked if seed is None else seeded(seed)(checked))()


def checks():
    r"""Return name, strategy, check and share of the cases."""
    model = saved_model()
    return [
        ("fit", fits(), check_fit, 0.5),
        ("sequence", sequences(), check_sequence, 0.15),
        ("quality", disturbances(), check_quality, 0.05),
        ("optimum", st.integers(0, 2**32 - 1), check_optimum, 0.1),
        ("load", damaged(model), lambda content: check_load(content, model), 0.1),
        ("load_otto", tables(), check_otto, 0.1),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[name for name, *_ in checks()])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for label, strategy, check, share in checks():
        if arguments.only not in (None, label):
            continue
        n_all, begin = int(share * arguments.cases), time.perf_counter()
        for batch in range(math.ceil(n_all / BATCH)):
            n_cases = min(n_all - batch * BATCH, BATCH)
            run(strategy, check, n_cases, arguments.seed * 1000 + batch)
            n_done, seconds = batch * BATCH + n_cases, time.perf_counter() - begin
            print(
                f"{label}: {n_done} cases without failure, {seconds:.0f} s", flush=True
            )
