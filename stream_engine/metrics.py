"""Every metric's name, unit and meaning, in one place.

I know nothing of who counts and who asks. Base units (seconds, bytes), no label per sensor. Each
`Metrics` has a registry of its own, so two engines in one process (and two tests) do not share counts.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX = "stream_engine"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of `Metrics.render`."""

WORK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The engine's counters, gauges and histograms; lives as long as the worker that owns it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        self.records = self._counter("records", "Records read from the source")
        self.readings = self._counter("readings", "Readings folded into a sensor's state")
        self.replayed = self._counter("replayed_readings", "Readings folded again on restore, without a forecast")
        self.duplicates = self._counter("duplicate_readings", "Readings dropped: same sensor and time as one before")
        self.late = self._counter("late_readings", "Readings refused: before their sensor's last time")
        self.merged = self._counter("merged_readings", "Late readings folded in their place (late: merge)")
        self.invalid = self._counter("invalid_readings", "Readings that failed reading.valid_where")
        self.rejects = self._counter("rejected_records", "Records that cannot be readings, by reason", ("reason",))
        self.forecasts = self._counter("forecasts", "Forecasts written to the sink")
        self.dead_letters = self._counter("dead_letters", "Records written to the dead letter topic")
        self.resets = self._counter("state_resets", "Sensors whose state was not finite and was started afresh")
        self.evictions = self._counter("evictions", "Slots taken from a sensor for another one")

        self.turns = self._counter("turns", "Batches carried from source to sink")
        self.commits = self._counter("commits", "Commits of the emitted position")
        self.commit_seconds = self._histogram("commit_seconds", "Time one commit took", WORK_SECONDS)
        self.aborts = self._counter("aborts", "Times that uncommitted forecasts were taken back (exactly_once)")
        self.checkpoints = self._counter("checkpoints", "Partitions' checkpoints saved to the store")
        self.checkpoint_seconds = self._histogram("checkpoint_seconds", "Time one checkpoint took", WORK_SECONDS)
        self.restore_seconds = self._histogram("restore_seconds", "Time one partition took to restore", WORK_SECONDS)
        self.store_failures = self._counter("store_failures", "Calls to the store that failed")
        self.store_away = self._gauge(
            "store_away", "1 while the store does not answer and state is kept in memory alone"
        )
        self.rebalances = self._counter("rebalances", "Times that partitions were taken or given")

        self.position_resets = self._counter(
            "position_resets", "Times that the log did not hold a partition's position, and reading went on elsewhere"
        )

        self.partitions = self._gauge("partitions", "Partitions this process owns")
        self.resident_slots = self._gauge("resident_slots", "Slots that hold a sensor's state on the device")
        self.sensors = self._gauge("sensors", "Sensors known in the partitions this process owns")
        self.lag_records = self._gauge("lag_records", "Records behind the end of the log, by partition", ("partition",))
        self.delay_seconds = self._gauge("delay_seconds", "Wall time minus the last record's own timestamp")

    def render(self) -> bytes:
        """All metrics as Prometheus text, of CONTENT_TYPE."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", meaning, registry=self.registry, buckets=buckets)
