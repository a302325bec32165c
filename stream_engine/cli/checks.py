"""The checks of `stream-engine doctor`: each looks at one thing that a configuration names, and says what to do.

I know nothing of how findings are shown.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from connectors.contracts import Source
from connectors.errors import ConnectorError, MissingStoreError, MissingTopicError
from connectors.records import Bounds, Partition, RecordBatch
from connectors.retry import Deadline
from recurrent_core.errors import CoreError
from recurrent_core.weights import load_model
from stream_engine.checkpoint import check_model, decode_meta
from stream_engine.clock import SystemClock
from stream_engine.codec import RegisteredEncoder
from stream_engine.config import Config
from stream_engine.errors import EngineError
from stream_engine.stepper import Stepper, choose_device, served
from stream_engine.worker import Doors

OK, WARNING, FAILURE = "ok", "warning", "failure"
OPEN_S = 10.0
JOIN_S = 20.0
NUM_TASTED = 200
CLOCK_SLACK_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at.
        level: ok, warning or failure.
        text: one sentence; for anything but ok it says the way out.
    """

    check: str
    level: str
    text: str


Check = Callable[[Config], Iterator[Finding]]


def check_of_model(config: Config) -> Iterator[Finding]:
    """The model loads, fits the horizon, and there is the device."""
    model = served(load_model(config.model.name), config.late == "merge")
    stepper = Stepper(model, choose_device(config.model.device), config.horizon)
    yield Finding(
        "model",
        OK,
        f"{stepper.model_label}, {4 * stepper.state_floats} bytes of state a sensor, horizon {config.horizon} of at "
        f"most {model.max_horizon}, on {choose_device(config.model.device)}",
    )


def check_of_store(config: Config) -> Iterator[Finding]:
    """The store answers, keeps what it is given, and holds no other model's state."""
    doors = Doors(config)
    store, model = doors.store(is_made=False), served(load_model(config.model.name), config.late == "merge")
    try:
        store.open(OPEN_S)
    except MissingStoreError:
        yield Finding("store", OK, f"{config.store.url} is made when the engine runs")
        return
    try:
        num_sensors = 0
        partitions = store.partitions()
        for partition in partitions:
            stored = store.look(partition)
            if stored is not None and stored.meta is not None:
                meta = decode_meta(stored.meta)
                check_model(meta, f"{model.name}@{model.version}", model.layout_id, str(partition))
                num_sensors += meta.num_series
        yield Finding("store", OK, f"reachable; {num_sensors} sensors stored in {len(partitions)} partitions")
        for warning in store.warnings():
            yield Finding("store", WARNING, warning)
    finally:
        store.close()


def check_of_source(config: Config) -> Iterator[Finding]:
    """The topic is there, its newest records can be read as readings, and clocks agree.

    Joins under another group's name, so that a running engine is not disturbed.
    """
    doors = Doors(config)
    source = doors.source(_with_group(config.source.url.get_secret_value(), f"{doors.group}-doctor"))
    source.open(lambda partitions: None, OPEN_S)
    try:
        bounds = _assigned_bounds(source)
        held = sum(one.latest - one.earliest for one in bounds.values())
        yield Finding("source", OK, f"reachable; {source.num_partitions} partitions hold {held:,} records")
        if held == 0:
            yield Finding("source", WARNING, "the topic is empty; send a reading, or try `stream-engine replay`")
            return
        yield from _taste(_newest(source, bounds), doors)
    finally:
        source.close()


def check_of_sinks(config: Config) -> Iterator[Finding]:
    """Where forecasts and dead letters go can be reached; missing topics are made by `run`."""
    doors = Doors(config)
    doors.delivery(doors.source())  # makes sure that what delivers as asked can be made
    if urlsplit(config.sink.url.get_secret_value()).scheme != "kafka":
        yield Finding("sink", OK, f"{config.sink.url} is made when the engine runs")
        return
    source = doors.source(_with_group(config.sink.url.get_secret_value(), f"{doors.group}-doctor"))
    try:
        source.open(lambda partitions: None, OPEN_S)
        yield Finding("sink", OK, f"reachable; the topic has {source.num_partitions} partitions")
    except MissingTopicError:
        yield Finding("sink", OK, "reachable; the topic is made when the engine runs")
    finally:
        source.close()


def check_of_registry(config: Config) -> Iterator[Finding]:
    """The schema registry answers, and takes the schema that forecasts are written by."""
    doors = Doors(config)
    registry = doors.registry()
    if registry is None:
        return
    registry.check(OPEN_S)
    yield Finding("registry", OK, f"reachable at {registry.address}")
    encoder = doors.encoder("doctor@0")
    if not isinstance(encoder, RegisteredEncoder):
        return
    fits = registry.is_compatible(encoder.subject, encoder.kind, encoder.schema, OPEN_S)
    if fits is None:
        yield Finding("registry", OK, f"the subject {encoder.subject!r} is made when the engine runs")
    elif fits:
        yield Finding("registry", OK, f"the subject {encoder.subject!r} takes the schema of forecasts")
    else:
        yield Finding(
            "registry",
            FAILURE,
            f"the schema of forecasts is not compatible with the newest one of the subject {encoder.subject!r}; "
            "write to another topic, or change that subject's compatibility",
        )


CHECKS: dict[str, Check] = {
    "model": check_of_model,
    "store": check_of_store,
    "registry": check_of_registry,
    "source": check_of_source,
    "sink": check_of_sinks,
}


def _with_group(url: str, group: str) -> str:
    """The same URL for another group; a file has none."""
    if urlsplit(url).scheme == "file":
        return url
    return urlsplit(url)._replace(query=f"group={group}").geturl()


def _assigned_bounds(source: Source) -> dict[Partition, Bounds]:
    """What the partitions hold, once the group has given them to us."""
    deadline = Deadline.after(JOIN_S)
    assigned: set[Partition] = set()
    while len(assigned) < source.num_partitions and not deadline.is_over:
        assigned |= source.poll(1, 0.1).assigned
    return source.bounds(sorted(assigned))


def _newest(source: Source, bounds: dict[Partition, Bounds]) -> list[RecordBatch]:
    """About the newest NUM_TASTED records."""
    each = max(1, NUM_TASTED // max(1, len(bounds)))
    wanted = {p: one for p, one in bounds.items() if one.latest > one.earliest}
    for partition, one in wanted.items():
        source.seek(partition, max(one.earliest, one.latest - each))
    batches: list[RecordBatch] = []
    deadline = Deadline.after(JOIN_S)
    ended: set[Partition] = set()
    while len(ended) < len(wanted) and not deadline.is_over:
        for batch in source.poll(NUM_TASTED, 0.1).batches:
            batches.append(batch)
            if batch.next_position >= bounds[batch.partition].latest:
                ended.add(batch.partition)
    return batches


def _taste(batches: list[RecordBatch], doors: Doors) -> Iterator[Finding]:
    """Decode some records as the engine would."""
    decoder = doors.decoder()
    num_readings, reasons, newest_ns = 0, {}, -1
    for batch in batches:
        readings, rejects = decoder.decode(batch)
        num_readings += len(readings)
        newest_ns = max(newest_ns, int(batch.timestamps_ns.max(initial=-1)))
        reasons.update({reject.reason: reject.detail for reject in rejects})
    text = f"{num_readings} readings in the newest {sum(map(len, batches))} records"
    if reasons:
        some = "; ".join(f"{reason}: {detail}" for reason, detail in reasons.items())
        yield Finding(
            "reading", WARNING, f"{text}, but some cannot be read ({some}); see `reading` in the configuration"
        )
    else:
        yield Finding("reading", OK, text)
    ahead_s = (newest_ns - SystemClock().now_ns()) / 1e9
    if ahead_s > CLOCK_SLACK_S:
        yield Finding("clock", WARNING, f"the newest record is {ahead_s:.0f} s in the future; set this machine's clock")
    elif newest_ns >= 0:
        yield Finding("clock", OK, f"the newest record was sent {-ahead_s:,.0f} s ago")


def examine(config: Config) -> list[Finding]:
    """Every check's findings; a check that breaks is a failure with its own sentence."""
    findings = []
    for name, check in CHECKS.items():
        try:
            findings += list(check(config))
        except (ConnectorError, EngineError, CoreError) as error:
            findings.append(Finding(name, FAILURE, str(error)))
    return findings
