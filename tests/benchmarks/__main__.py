"""`make bench`: every benchmark in turn; each prints its ratio and keeps its numbers in results/."""

import sys

from tests.benchmarks import (
    attention_scaling,
    codec,
    exactly_once,
    kafka_rates,
    pipeline,
    recovery,
    replay_speed,
    restore,
    state_cost,
    step_cost,
)

if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    for benchmark in (
        pipeline,
        exactly_once,
        recovery,
        restore,
        state_cost,
        step_cost,
        attention_scaling,
        replay_speed,
        codec,
        kafka_rates,
    ):
        print(f"\n== {benchmark.__name__.rpartition('.')[2]}", flush=True)
        benchmark.main()
