"""The live engine's router and stepper over one partition, without bytes, topics or a store.

I know nothing of origins, truths or scores. What I am handed in a batch gives what the worker would forecast from the
same readings, however they are cut into batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from connectors.records import Partition, RecordBatch
from recurrent_core.models.interface import StreamingModel
from stream_engine.records import Bools, Float64s, Int64s, ReadingBatch, StepBatch
from stream_engine.router import Router, RouterPolicy
from stream_engine.slots import NEVER_NS, Ledger, Slots
from stream_engine.stepper import Stepper, choose_threads
from stream_engine.watermark import Progress

NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Forecasts of some of the sensors.

    Attributes:
        entries: [n] number of the reading (of the batch handed in), or of the sensor that was asked.
        origins_ns, cadences_ns: [n].
        mean: [n, horizon].
        quantiles: [n, len(QUANTILE_LEVELS), horizon].
    """

    entries: Int64s
    origins_ns: Int64s
    cadences_ns: Int64s
    mean: Float64s
    quantiles: Float64s

    def only(self, which: Bools) -> "Answers":
        """Some of them, in the same order."""
        return Answers(
            self.entries[which],
            self.origins_ns[which],
            self.cadences_ns[which],
            self.mean[which],
            self.quantiles[which],
        )


class ReplayEngine:
    """Router, ledger, slots and stepper for one replay; every sensor keeps its slot."""

    def __init__(
        self,
        model: StreamingModel,
        sensors: Sequence[str],
        horizon: int,
        policy: RouterPolicy,
        device: torch.device,
    ) -> None:
        """Start with no readings.

        Raises:
            ConfigError: the model does not forecast so far.
        """
        self._sensors = np.array(sensors, dtype=object)
        self._policy = policy
        self._partition = Partition("replay", 0)
        self._progress = {self._partition: Progress()}
        self._ledger = Ledger()
        self._ledger.add_partition(self._partition)
        self._handles, _ = self._ledger.look_up(self._partition, [(sensor, "") for sensor in sensors])
        self._slots = Slots(len(sensors))
        self._router = Router(policy, self._ledger, self._slots)
        self._stepper = Stepper(model, device, horizon, choose_threads("auto"))
        none = np.empty(0, np.int64)
        self._records = RecordBatch(self._partition, none, none, (), (), None, 0)
        self.num_readings = 0

    @property
    def state_bytes(self) -> int:
        """Bytes of state kept for one sensor."""
        return self._stepper.state_floats * 4

    def step(self, series: Int64s, times_ns: Int64s, values: Float64s) -> list[Answers]:
        """Fold readings in the order given and forecast at each that is due one.

        Args:
            series: [n] numbers of the sensors. times_ns, values: [n]; NaN is a slot without a reading.
        """
        batch = ReadingBatch(
            records=self._records,
            rows=np.zeros(len(series), np.int64),
            sensors=self._sensors[series].tolist(),
            channels=[""] * len(series),
            groups=None,
            times_ns=times_ns,
            values=values,
        )
        routed = self._router.route([batch], self._progress)
        return [self._carry_out(step) for step in routed.steps]

    def ask(self, origin_ns: int) -> list[Answers]:
        """Forecasts of every sensor that has had readings, but none at origin_ns, from its state as it stands.

        Args:
            origin_ns: not before the last reading handed in.
        """
        entries = self._ledger.entries
        last_ns = entries["last_time_ns"][self._handles]
        silent = np.flatnonzero((last_ns != NEVER_NS) & (last_ns < origin_ns))
        origins_ns = np.full(len(silent), origin_ns, np.int64)
        cadences_ns = np.full(len(silent), self._policy.cadence_ns or self._policy.default_cadence_ns, np.int64)
        if not len(silent):
            return []
        result = self._stepper.ask(
            self._ledger.slot[self._handles[silent]],
            (origin_ns - last_ns[silent]) / NS_PER_S,
            cadences_ns,
            self._policy.calendar.second_of_week(origins_ns, cadences_ns),
        )
        return [Answers(silent, origins_ns, cadences_ns, result.mean, result.quantiles)]

    def _carry_out(self, step: StepBatch) -> Answers:
        self._stepper.reset(step.placement.loaded_slots)
        result = self._stepper.step(step)
        self.num_readings += len(step)
        due = step.arrival[step.is_due[step.arrival]]
        return Answers(
            step.readings[due], step.times_ns[due], step.cadences_ns[due], result.mean[due], result.quantiles[due]
        )
