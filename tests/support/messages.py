"""Messages for the codecs' tests: record batches with keys, timestamps and headers, packed bytes, forecasts."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from connectors.records import Headers, Partition, RecordBatch
from stream_engine.records import ForecastBatch

NOW_MS = 1_700_000_000_000
NOW_NS = NOW_MS * 1_000_000
HOUR_NS = 3_600_000_000_000


def messages(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None = None,
    stamps_ns: Sequence[int] | None = None,
    headers: Sequence[Headers | None] | None = None,
    start: int = 0,
) -> RecordBatch:
    """Records of partition speeds/3, all stamped NOW_NS unless told otherwise."""
    count = len(values)
    return RecordBatch(
        partition=Partition("speeds", 3),
        offsets=np.arange(start, start + count),
        timestamps_ns=np.full(count, NOW_NS) if stamps_ns is None else np.array(stamps_ns, dtype=np.int64),
        keys=[None] * count if keys is None else list(keys),
        values=list(values),
        headers=headers,
        next_position=start + count,
    )


def packed(**columns: object) -> bytes:
    """An Arrow IPC stream of one record batch."""
    batch = pa.record_batch({name: pa.array(column) for name, column in columns.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def forecasts(source: RecordBatch, horizon: int = 3, scale: float = 10.0, seed: int = 0) -> ForecastBatch:
    """One forecast for each record of a batch, of sensors s-0, s-1, …"""
    count = len(source)
    draw = np.random.default_rng(seed)
    return ForecastBatch(
        sources=[source],
        source=np.zeros(count, np.int64),
        rows=np.arange(count),
        sensors=[f"s-{number}" for number in range(count)],
        channels=["" if number % 2 == 0 else "speed" for number in range(count)],
        origins_ns=np.full(count, NOW_NS),
        last_readings_ns=np.full(count, NOW_NS - HOUR_NS),
        cadences_ns=np.full(count, 300_000_000_000),
        mean=draw.normal(50, scale, (count, horizon)),
        quantiles=np.sort(draw.normal(50, scale, (count, 3, horizon)), axis=1),
        scale=np.full(count, scale),
        status=np.zeros(count, np.int8),
    )
