"""Small values for tests: record batches, reading batches, entries."""

from collections.abc import Sequence

import numpy as np

from connectors.records import Partition, RecordBatch
from stream_engine.records import ReadingBatch

HERE = Partition("readings", 0)
MINUTE_NS = 60_000_000_000


def record_batch(values: Sequence[bytes | None], partition: Partition = HERE, start: int = 0) -> RecordBatch:
    """Records with consecutive offsets, no keys and timestamp 0."""
    num = len(values)
    return RecordBatch(
        partition=partition,
        offsets=np.arange(start, start + num),
        timestamps_ns=np.zeros(num, np.int64),
        keys=[None] * num,
        values=list(values),
        headers=None,
        next_position=start + num,
    )


def reading_batch(
    readings: Sequence[tuple[str, int, float]], partition: Partition = HERE, start: int = 0
) -> ReadingBatch:
    """Readings given as (sensor, minute, value), one to a record."""
    return ReadingBatch(
        records=record_batch([b""] * len(readings), partition, start),
        rows=np.arange(len(readings)),
        sensors=[sensor for sensor, _, _ in readings],
        channels=[""] * len(readings),
        groups=None,
        times_ns=np.asarray([minute * MINUTE_NS for _, minute, _ in readings], np.int64),
        values=np.asarray([value for _, _, value in readings], np.float64),
    )
