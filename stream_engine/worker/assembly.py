"""Builds a worker from a configuration: every part made, none opened yet.

I know every room's front door and nothing of what goes on inside.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from connectors.contracts import Delivery, Sink, Source, StateStore
from connectors.registry import open_sink, open_source, open_store, open_transactions
from connectors.schema_registry.client import SchemaRegistry
from connectors.schema_registry.settings import RegistrySettings
from recurrent_core.models.interface import StreamingModel
from recurrent_core.weights import load_card, load_model
from stream_engine.checkpoint import Checkpointer
from stream_engine.clock import Clock, SystemClock
from stream_engine.codec import Decoder, Encoder, decoder_for, encoder_for
from stream_engine.config import Config, ReadingConfig
from stream_engine.localtime import Calendar, calendar_of
from stream_engine.metrics import Metrics
from stream_engine.pipeline import AtLeastOnce, Choice, Parts, Rhythm
from stream_engine.router import Router, RouterPolicy
from stream_engine.slots import Ledger, Slots
from stream_engine.stepper import Stepper, choose_device, choose_threads, served
from stream_engine.worker.loop import Worker

NO_GROUP = "local"


@dataclass(frozen=True, slots=True)
class Doors:
    """Opens what a configuration names, in this process or anywhere else."""

    config: Config

    @property
    def group(self) -> str:
        """The consumer group; a source without groups (a file) has the one of this machine."""
        query = parse_qs(urlsplit(self.config.source.url.get_secret_value()).query)
        return query.get("group", [NO_GROUP])[0]

    def source(self, url: str | None = None) -> Source:
        """The source, or another one with the same client."""
        return open_source(
            url or self.config.source.url.get_secret_value(),
            client=self.config.kafka.client,
            options=self.config.kafka.client_options(),
            broker_timeout_s=self.config.broker_timeout.s,
        )

    def sink(self, url: str | None = None) -> Sink:
        """The sink, or another one with the same client."""
        return open_sink(
            url or self.config.sink.url.get_secret_value(),
            client=self.config.kafka.client,
            options=self.config.kafka.client_options(),
            broker_timeout_s=self.config.broker_timeout.s,
        )

    def delivery(self, source: Source) -> Delivery:
        """Where forecasts go, and records that cannot be readings: to `<source topic>.dlq`, beside the source.

        Raises:
            ConnectorConfigError: exactly_once is asked of what is not one Kafka cluster.
        """
        dead_letters = dead_letter_url(self.config.source.url.get_secret_value())
        if self.config.delivery == "at_least_once":
            return AtLeastOnce(source, self.sink(), self.sink(dead_letters))
        return open_transactions(
            source,
            self.config.sink.url.get_secret_value(),
            dead_letters,
            client=self.config.kafka.client,
            options=self.config.kafka.client_options(),
            broker_timeout_s=self.config.broker_timeout.s,
        )

    def store(self, is_made: bool = True) -> StateStore:
        """The state store; is_made: whether a file that is missing is made."""
        config = self.config.store
        return open_store(config.url.get_secret_value(), group=self.group, prefix=config.prefix, is_made=is_made)

    def decoder(self) -> Decoder:
        """The decoder of the readings; a file hands on packed columns, whatever its own format."""
        reading, max_future = self.config.reading, self.config.max_future
        if urlsplit(self.config.source.url.get_secret_value()).scheme == "file":
            reading = ReadingConfig(format="packed", valid_where=reading.valid_where)
        return decoder_for(reading, None if max_future is None else max_future.ns, self.registry())

    def encoder(self, model: str) -> Encoder:
        """The encoder of forecasts of a model (`name@version`)."""
        return encoder_for(self.config.sink.format, model, self.sink_topic, self.registry())

    @property
    def sink_topic(self) -> str:
        """The name of the topic that forecasts go to; of a file its path."""
        parts = urlsplit(self.config.sink.url.get_secret_value())
        return parts.path.strip("/") or parts.netloc

    def registry(self) -> SchemaRegistry | None:
        """The schema registry, where one is named."""
        config = self.config.registry
        if config.url is None:
            return None
        settings = RegistrySettings(
            config.url.get_secret_value(), config.ca_file, config.certificate_file, config.key_file, config.timeout.s
        )
        return SchemaRegistry(settings)


def dead_letter_url(source_url: str) -> str:
    """The source's URL with `.dlq` behind the name, for a sink.

    >>> dead_letter_url("kafka://broker:9092/readings?group=g")
    'kafka://broker:9092/readings.dlq'
    """
    parts = urlsplit(source_url)
    if parts.path.strip("/"):
        return parts._replace(path=parts.path.rstrip("/") + ".dlq", query="").geturl()
    return parts._replace(netloc=parts.netloc + ".dlq", query="").geturl()


def policy_of(config: Config, calendar: Calendar) -> RouterPolicy:
    """What the router is told."""
    return RouterPolicy(
        cadence_ns=None if config.cadence is None else config.cadence.ns,
        default_cadence_ns=config.default_cadence.ns,
        emit_every_ns=0 if config.emit.every is None else config.emit.every.ns,
        late=config.late,
        calendar=calendar,
    )


def assemble(config: Config, clock: Clock | None = None, model: StreamingModel | None = None) -> Worker:
    """A worker whose connections are opened by its `run`.

    Raises:
        ConfigError: a URL, the device or the horizon can never work.
        ArtifactError: the model cannot be used.
    """
    clock = clock or SystemClock()
    doors = Doors(config)
    device = choose_device(config.model.device)
    threads = choose_threads(config.model.threads)
    learned = None if model else load_card(config.model.name)["facts"].get("calendar")
    calendar = calendar_of(config.calendar.timezone, config.calendar.country, learned)
    policy = policy_of(config, calendar)
    model = served(model or load_model(config.model.name), policy.is_merging)
    stepper = Stepper(model, device, config.horizon, threads)
    ledger, slots = Ledger(policy.is_merging), Slots(config.model.slots)
    source, store = doors.source(), doors.store()
    parts = Parts(
        source=source,
        delivery=doors.delivery(source),
        store=store,
        decoder=doors.decoder(),
        encoder=doors.encoder(stepper.model_label),
        router=Router(policy, ledger, slots),
        ledger=ledger,
        slots=slots,
        stepper=stepper,
        checkpointer=Checkpointer(
            store,
            ledger,
            stepper,
            clock,
            ThreadPoolExecutor(1, "checkpoint"),
            shelf_rows=config.model.slots,
            wait_s=config.store.timeout.s,
        ),
        clock=clock,
        metrics=Metrics(),
    )
    rhythm = Rhythm(
        max_records=config.source.max_poll,
        commit_s=config.commit_interval.s,
        checkpoint_s=config.checkpoint_interval.s,
        flush_s=config.broker_timeout.s,
        stop_s=config.stop_timeout.s,
        choice=Choice(config.source.start, config.reset, config.rebuild_from),
    )
    return Worker(parts, rhythm, open_s=config.store.timeout.s)
