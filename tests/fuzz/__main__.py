"""`make fuzz CASES=1000000`: the long form, with an account; ends with status 1 where something did not hold.

    python -m tests.fuzz --cases 1000000 [--seed 1] [--target json]

Cases are shared evenly among the targets. Each round of examples has a seed of its own, printed where it fails.
"""

import argparse
import sys
import time
import traceback
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.targets import PER_EXAMPLE, TARGETS, Target

EXAMPLES_A_ROUND = 400


def fuzz(target: Target, cases: int, first_seed: int) -> Counter[str]:
    """Judge at least so many cases; what became of them.

    Raises:
        Exception: whatever did not hold, shrunk.
    """
    fates: Counter[str] = Counter()
    number = first_seed
    while fates.total() < cases:

        @seed(number)
        @settings(
            max_examples=min(EXAMPLES_A_ROUND, -(-cases // PER_EXAMPLE)),
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(target.cases)
        def judge(found: object) -> None:
            fates.update(target.judge(found))

        try:
            judge()
        except Exception:
            print(f"{target.name}: did not hold in the round of --seed {number}", flush=True)
            raise
        number += 1
    return fates


def main() -> int:
    """Fuzz every target and print the account."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=[target.name for target in TARGETS])
    asked = parser.parse_args()
    chosen = [target for target in TARGETS if asked.target in (None, target.name)]
    total, faults, started_s = 0, 0, time.monotonic()
    for target in chosen:
        before_s = time.monotonic()
        try:
            fates = fuzz(target, -(-asked.cases // len(chosen)), asked.seed)
        except Exception:  # noqa: BLE001 (whatever did not hold: it is told, and the next target has its turn)
            traceback.print_exc()
            faults += 1
            continue
        told = ", ".join(f"{fate} {count:,}" for fate, count in fates.most_common())
        print(f"{target.name:26} {fates.total():>9,} cases {time.monotonic() - before_s:6.0f} s   {told}", flush=True)
        total += fates.total()
    took_s = time.monotonic() - started_s
    print(f"{total:,} cases in {took_s:.0f} s from seed {asked.seed}; {faults} of {len(chosen)} targets did not hold")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
