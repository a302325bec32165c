"""Carries out step batches on the slab of states; state in and out as rows.

The only module of the running engine that touches tensors. I know slots and numbers; nothing of
topics, bytes on the wire, or who decides what steps.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurrent_core.models.interface import Arrival, Groups, Outlook, Runs, StreamingModel
from recurrent_core.models.refolding import RefoldingModel
from stream_engine.errors import ConfigError
from stream_engine.records import Bools, Int64s, SeriesKey, Status, StepBatch, StepResult
from stream_engine.slots import NUM_RECENT
from stream_engine.watermark import Progress

Float32s = NDArray[np.float32]

FIRST_SLOTS = 1024
MOST_THREADS = 4
"""Unless more are asked for: the other parts of a turn keep to one."""
NS_PER_S = 1e9

logger = logging.getLogger(__name__)


def choose_device(wanted: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means on this machine.

    Raises:
        ConfigError: cuda was asked for and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if wanted.startswith("cuda") and not has_cuda:
        raise ConfigError("model.device: cuda was asked for, but torch finds no CUDA device; set it to auto or cpu")
    if wanted == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    return torch.device(wanted)


def choose_threads(wanted: int | Literal["auto"]) -> int:
    """The CPU threads that a number or `auto` means on this machine."""
    if wanted != "auto":
        return wanted
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(ours, MOST_THREADS)


def served(model: StreamingModel, is_merging: bool) -> StreamingModel:
    """The model as it is, or where late readings are merged one around it that can fold them in their place."""
    return RefoldingModel(model, NUM_RECENT) if is_merging else model


class Slab:
    """State rows by slot, [slots, floats] float32 on the device; grows with the slots that are used.

    Rows of slots that are not in use hold anything. On the host rows are copied by numpy, which is three times as
    fast at whole rows as torch's indexing.
    """

    def __init__(self, fresh: Tensor) -> None:
        """Start with no slots.

        Args:
            fresh: [1, floats] float32, the row of a series that has seen nothing.
        """
        self.fresh = fresh
        self._rows = fresh[:0].clone()
        self._host: Float32s | None = None if fresh.is_cuda else self._rows.numpy()

    @property
    def tensor(self) -> Tensor:
        """Every row, [slots, floats]; good until rows are put into slots beyond them."""
        return self._rows

    def gather(self, slots: Int64s) -> Tensor:
        """A copy of the rows in these slots, [n, floats] on the device."""
        if self._host is not None:
            return torch.from_numpy(self._host.take(slots, axis=0))
        return self._rows[torch.from_numpy(slots).to(self._rows.device)]

    def scatter(self, slots: Int64s, rows: Tensor) -> None:
        """Put rows, [n, floats] or [1, floats] on the device, into slots."""
        needed = int(slots.max(initial=-1)) + 1
        if needed > len(self._rows):
            more = max(needed - len(self._rows), len(self._rows), FIRST_SLOTS)
            self._rows = torch.cat([self._rows, self.fresh.expand(more, -1)])
            self._host = None if self._rows.is_cuda else self._rows.numpy()
        if self._host is not None:
            self._host[slots] = rows.numpy()
        else:
            self._rows[torch.from_numpy(slots).to(self._rows.device)] = rows


class Stepper:
    """Owns the slab; lives as long as the pipeline."""

    def __init__(self, model: StreamingModel, device: torch.device, horizon: int, threads: int = 1) -> None:
        """Start with an empty slab.

        Args:
            threads: CPU threads that share a step's series. Each of torch's operations keeps to one: they are many
                and small, and threads within them spend their time waiting for each other (docs/diary.md).
        Raises:
            ConfigError: the model does not forecast so far.
        """
        if not 1 <= horizon <= model.max_horizon:
            raise ConfigError(
                f"horizon: {horizon} leads were asked for, but model {model.name!r} forecasts 1 to "
                f"{model.max_horizon}; set horizon within that"
            )
        torch.set_num_threads(1)
        self._model = model
        self._device = device
        self._horizon = horizon
        self._slab = Slab(model.init_state(1).to(device))
        self._fresh_group = model.init_group()
        self._num_found_broken = 0
        model.prepare(device, threads)

    @property
    def model_label(self) -> str:
        """`name@version`, as forecasts carry it."""
        return f"{self._model.name}@{self._model.version}"

    @property
    def layout_id(self) -> str:
        """The layout of a state row."""
        return self._model.layout_id

    @property
    def state_floats(self) -> int:
        """Floats in a state row."""
        return self._model.state_floats

    def reset(self, slots: Int64s, keys: Sequence[SeriesKey]) -> None:
        """Make these slots fresh; keys: [n] whose they are."""
        self._slab.scatter(slots, self._slab.fresh)
        numbers = np.array([self._model.number_of(*key) for key in keys], np.int64)
        known = np.flatnonzero(numbers)
        if len(known):
            rows = self._slab.gather(slots[known])
            self._model.inscribe(rows, numbers[known])
            self._slab.scatter(slots[known], rows)

    def put(self, slots: Int64s, rows: Float32s) -> None:
        """Put state rows, [n, floats], into slots."""
        self._slab.scatter(slots, self._upload(rows))

    def rows(self, slots: Int64s) -> Float32s:
        """The state rows of slots, [n, floats] float32, copied to the host.

        A row that is not finite starts afresh instead, since what leaves the slab may be stored; the next step tells.
        """
        rows = np.asarray(self._slab.gather(slots).cpu().numpy())
        broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(broken):
            self._start_afresh(slots[broken])
            rows[broken] = self._slab.gather(slots[broken]).cpu().numpy()
            self._num_found_broken += len(broken)
        return rows

    def fresh_row(self, key: SeriesKey) -> Float32s:
        """The row of a series that has seen nothing, [floats]."""
        row = self._slab.fresh.clone()
        self._model.inscribe(row, np.array([self._model.number_of(*key)]))
        return np.asarray(row[0].cpu().numpy())

    @torch.inference_mode()
    def step(self, batch: StepBatch, progress: Sequence[Progress]) -> StepResult:
        """Fold every reading of the batch in order, forecasting after each; a value of NaN is a question.

        Args:
            progress: of the partition of each of the batch's sources, whose groups move on.
        """
        columns = self._upload(
            np.stack([batch.values, batch.elapsed_s, batch.cadences_ns / NS_PER_S, batch.second_of_week])
        )
        runs = Runs(batch.slots, batch.wave_ends)
        groups = self._groups(batch, progress)
        outlook = self._model.sequence(Arrival(*columns), runs, self._slab.tensor, self._horizon, groups)
        return self._mended(self._download(outlook, batch.has_cadence), batch)

    def _groups(self, batch: StepBatch, progress: Sequence[Progress]) -> Groups | None:
        """The partitions' groups, for a model that has groups; rows of its `state` are theirs from now on."""
        if not len(self._fresh_group):
            return None
        state = np.stack([one.group if len(one.group) else self._fresh_group for one in progress])
        for one, row in zip(progress, state, strict=True):
            one.group = row
        return Groups(state, batch.source, batch.rank, batch.times_ns / NS_PER_S)

    def _mended(self, result: StepResult, batch: StepBatch) -> StepResult:
        """The result with every series that is not finite started afresh and forecast as its last value."""
        found, self._num_found_broken = self._num_found_broken, 0
        is_finite = np.isfinite(result.mean).all(axis=1) & np.isfinite(result.quantiles).all(axis=(1, 2))
        broken: Bools = np.logical_not(is_finite & np.isfinite(result.scale))
        if not broken.any():
            return replace(result, num_resets=found) if found else result
        slots = np.unique(batch.slots[broken])
        self._start_afresh(slots)
        last = batch.values[:, None]
        return StepResult(
            mean=np.where(broken[:, None], last, result.mean),
            quantiles=np.where(broken[:, None, None], last[:, :, None], result.quantiles),
            scale=np.where(broken, 1.0, result.scale),
            status=np.where(broken, Status.WARMING_UP, result.status).astype(np.int8),
            num_resets=len(slots) + found,
        )

    def _start_afresh(self, slots: Int64s) -> None:
        logger.error("the state of %d series was not finite and starts afresh", len(slots))
        rows = self._slab.gather(slots)
        self._model.renew(rows)
        self._slab.scatter(slots, rows)

    def _upload(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _download(self, outlook: Outlook, has_cadence: Bools) -> StepResult:
        """One copy to the host."""
        num, horizon = len(has_cadence), self._horizon
        flags = torch.stack([outlook.scale, outlook.is_warming_up.double(), outlook.is_drifting.double()], dim=1)
        packed = torch.cat([outlook.mean, outlook.quantiles.flatten(1), flags], dim=1)
        host = packed.cpu().numpy()
        is_warming_up = (host[:, -2] > 0) | ~has_cadence
        status = np.where(host[:, -1] > 0, Status.DRIFT, Status.OK)
        status = np.where(is_warming_up, Status.WARMING_UP, status).astype(np.int8)
        return StepResult(
            mean=host[:, :horizon],
            quantiles=host[:, horizon : 4 * horizon].reshape(num, 3, horizon),
            scale=host[:, 4 * horizon],
            status=status,
        )
