"""Metrics: names in base units, each with a meaning, no registry shared."""

from prometheus_client.parser import text_string_to_metric_families

from stream_engine.metrics import Metrics

LABELS = {"reason", "partition", "le"}


def families(metrics):
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def test_names_units_and_meanings():
    metrics = Metrics()
    metrics.rejects.labels("late").inc()
    metrics.lag_records.labels("t/0").set(1)
    found = families(metrics)
    assert len(found) > 15
    for name, family in found.items():
        assert name.startswith("stream_engine_")
        assert family.documentation
        assert not name.endswith(("_ms", "_millis", "_minutes", "_kb"))
        for sample in family.samples:
            assert set(sample.labels) <= LABELS


def test_two_engines_do_not_share_counts():
    first, second = Metrics(), Metrics()
    first.readings.inc(3)
    [sample] = [s for s in families(second)["stream_engine_readings"].samples if s.name.endswith("_total")]
    assert sample.value == 0
