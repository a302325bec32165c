"""The live engine's router and stepper over one partition, without bytes, topics or a store.

I know nothing of origins, truths or scores. What I am handed in a batch gives what the worker would forecast from the
same readings, however they are cut into batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from connectors.records import Partition, RecordBatch
from recurrent_core.models.interface import StreamingModel
from stream_engine.records import Bools, Float64s, Int64s, Placement, ReadingBatch, StepBatch
from stream_engine.router import Router, RouterPolicy
from stream_engine.slots import NEVER_NS, Ledger, Slots
from stream_engine.stepper import Stepper, choose_threads, served
from stream_engine.watermark import Progress

NS_PER_S = 1e9
NONE = np.empty(0, np.int64)
NOBODY = Placement(NONE, NONE, NONE, NONE)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Forecasts of some of the sensors.

    Attributes:
        entries: [n] numbers of the readings, or of the rows' cells, among those handed in.
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
        self._ledger = Ledger(policy.is_merging)
        self._ledger.add_partition(self._partition)
        self._handles, _ = self._ledger.look_up(self._partition, [(sensor, "") for sensor in sensors])
        self._slots = Slots(len(sensors))
        self._router = Router(policy, self._ledger, self._slots)
        self._stepper = Stepper(served(model, policy.is_merging), device, horizon, choose_threads("auto"))
        self._records = RecordBatch(self._partition, NONE, NONE, (), (), None, 0)
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
        return [self._carry_out(step) for step in self._route(series, times_ns, values)]

    def step_rows(self, times_ns: Int64s, values: Float64s, are_asked: bool) -> list[Answers]:
        """Fold whole rows of a grid as long runs, and forecast at each reading.

        Args:
            times_ns: [r] increasing, after all that was handed in before.
            values: [r, N], NaN where a sensor has no reading.
            are_asked: whether a sensor that has had readings, but none at a row, forecasts there too, from its state as
                it stands.
        Returns:
            entries number the cells, row * N + sensor.
        """
        is_reading = ~np.isnan(values)
        last_ns = np.maximum.accumulate(np.where(is_reading, times_ns[:, None], NEVER_NS))
        last_ns = np.maximum(last_ns, self._ledger.entries["last_time_ns"][self._handles])
        row, series = np.nonzero(is_reading)
        cells = np.flatnonzero(is_reading)
        steps = self._route(series, times_ns[row], values[row, series])
        steps = [replace(step, readings=cells[step.readings]) for step in steps]
        silent = np.flatnonzero(~is_reading & (last_ns != NEVER_NS)) if are_asked else NONE
        if len(silent):
            steps.append(self._questions(silent, times_ns, last_ns.reshape(-1)[silent]))
        return [self._carry_out(_joined(steps, len(self._sensors)))] if steps else []

    def _route(self, series: Int64s, times_ns: Int64s, values: Float64s) -> list[StepBatch]:
        batch = ReadingBatch(
            records=self._records,
            rows=np.zeros(len(series), np.int64),
            sensors=self._sensors[series].tolist(),
            channels=[""] * len(series),
            groups=None,
            times_ns=times_ns,
            values=values,
        )
        return self._router.route([batch], self._progress).steps

    def _questions(self, cells: Int64s, times_ns: Int64s, last_ns: Int64s) -> StepBatch:
        """Questions at cells, [n], whose sensors had their last readings at last_ns, [n]; times_ns: [r] of the rows."""
        row, series = np.divmod(cells, len(self._sensors))
        num, origins_ns = len(cells), times_ns[row]
        cadences_ns = np.full(num, self._policy.cadence_ns or self._policy.default_cadence_ns, np.int64)
        return StepBatch(
            placement=NOBODY,
            wave_ends=NONE,
            handles=self._handles[series],
            slots=self._ledger.slot[self._handles[series]],
            source=np.zeros(num, np.int64),
            readings=cells,
            times_ns=origins_ns,
            values=np.full(num, np.nan),
            elapsed_s=(origins_ns - last_ns) / NS_PER_S,
            cadences_ns=cadences_ns,
            has_cadence=np.ones(num, np.bool_),
            second_of_week=self._policy.calendar.second_of_week(origins_ns, cadences_ns),
            is_due=np.ones(num, np.bool_),
            arrival=np.arange(num),
            rank=np.zeros(num, np.int64),
        )

    def _carry_out(self, step: StepBatch) -> Answers:
        loaded = step.placement.loaded
        self._stepper.reset(step.placement.loaded_slots, [self._ledger.keys[handle] for handle in loaded.tolist()])
        result = self._stepper.step(step, [self._progress[self._partition]])
        self.num_readings += int((~np.isnan(step.values)).sum())
        due = step.arrival[step.is_due[step.arrival]]
        return Answers(
            step.readings[due], step.times_ns[due], step.cadences_ns[due], result.mean[due], result.quantiles[due]
        )


def _joined(steps: Sequence[StepBatch], num_sensors: int) -> StepBatch:
    """Readings and questions as one step, row by row; a row is one wave: its readings, then its questions."""
    names = {field.name for field in fields(StepBatch)} - {"placement", "wave_ends", "arrival", "rank"}
    columns = {name: np.concatenate([getattr(step, name) for step in steps]) for name in names}
    row = columns["readings"] // num_sensors
    order = np.lexsort((columns["readings"], np.isnan(columns["values"]), row))
    in_row = np.bincount(row)
    return StepBatch(
        placement=steps[0].placement,
        wave_ends=np.cumsum(in_row[in_row > 0]),
        arrival=np.arange(len(order)),
        rank=row[order],
        **{name: column[order] for name, column in columns.items()},
    )
