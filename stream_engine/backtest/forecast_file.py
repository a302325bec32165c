"""Writes every scored cell to a Parquet file with Nixtla's columns, row group by row group.

    unique_id, ds (target time), cutoff (origin), y, <model>, <model>-lo-80, <model>-hi-80

I know nothing of scores or models. `<model>` is the median; forecasts are float32, as the state is.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from connectors.file.tables import Column
from stream_engine.backtest.scores import Judged
from stream_engine.errors import ConfigError

_ROWS_PER_GROUP = 1 << 19
_TIME = pa.timestamp("ns", tz="UTC")


class ForecastFile:
    """An open file; a context manager that leaves the whole file or, after a fault, none."""

    def __init__(self, path: Path, model: str, sensors: Sequence[str]) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._sensors = pa.array(sensors, pa.string())
        names = [("unique_id", pa.dictionary(pa.int32(), pa.string())), ("ds", _TIME), ("cutoff", _TIME)]
        names += [("y", pa.float64()), (model, pa.float32())]
        names += [(f"{model}-lo-80", pa.float32()), (f"{model}-hi-80", pa.float32())]
        self._schema = pa.schema(names)
        self._waiting: list[pa.RecordBatch] = []
        self._num_waiting = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pyarrow.parquet.ParquetWriter(self._part, self._schema, compression="zstd")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written to: {error.strerror or error}") from error

    def write(self, judged: Judged) -> None:
        """Append the cells that have a truth and a forecast, forecast by forecast."""
        median, low, high = judged.median, judged.quantiles[:, 0], judged.quantiles[:, -1]
        forecast, lead = np.nonzero(np.isfinite(judged.truths) & np.isfinite(median))
        columns: list[Column] = [judged.targets_ns[forecast, lead], judged.origins_ns[forecast]]
        columns += [judged.truths[forecast, lead]]
        columns += [one[forecast, lead].astype(np.float32) for one in (median, low, high)]
        ids = pa.DictionaryArray.from_arrays(pa.array(judged.series[forecast], pa.int32()), self._sensors)
        arrays = [
            ids,
            *(pa.array(column, field.type) for column, field in zip(columns, list(self._schema)[1:], strict=True)),
        ]
        self._waiting.append(pa.record_batch(arrays, schema=self._schema))
        self._num_waiting += len(forecast)
        if self._num_waiting >= _ROWS_PER_GROUP:
            self._flush()

    def __enter__(self) -> "ForecastFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._num_waiting = [], 0
