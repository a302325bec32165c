"""`stream-engine inspect`: what is stored, for people and for machines."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from connectors.contracts import StateStore
from connectors.errors import StoredStateError
from connectors.records import Partition
from connectors.registry import open_store
from stream_engine.checkpoint import Meta, Shard, decode_meta, decode_shard
from stream_engine.errors import ConfigError, nearest_name
from stream_engine.slots import NEVER_NS

OPEN_S = 10.0
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """One series as it is stored: where, its number in the shard, and the shard."""

    partition: Partition
    row: int
    shard: Shard


def _time_text(time_ns: int) -> str:
    if time_ns == NEVER_NS:
        return "never"
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class _Stored:
    """A store opened for looking only."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def metas(self) -> dict[Partition, Meta]:
        """Meta of every partition that has been saved."""
        found = {}
        for partition in self._store.partitions():
            stored = self._store.look(partition)
            if stored is not None and stored.meta is not None:
                found[partition] = decode_meta(stored.meta)
        return found

    def shards(self, partition: Partition, meta: Meta) -> list[Shard]:
        """Every shard of a partition."""
        stored = self._store.look(partition)
        numbers = stored.shards if stored is not None else ()
        blobs = self._store.load(partition, numbers)
        return [decode_shard(meta.layout_id, blob) for blob in blobs if blob is not None]

    def find(self, sensor: str) -> list[StoredSeries]:
        """Every channel of a sensor, in every partition it is in.

        Raises:
            ConfigError: it is not stored; names the nearest that is.
        """
        found, known = [], []
        for partition, meta in self.metas().items():
            for shard in self.shards(partition, meta):
                known += [name for name, _ in shard.keys]
                found += [StoredSeries(partition, row, shard) for row, key in enumerate(shard.keys) if key[0] == sensor]
        if not found:
            raise ConfigError(
                f"--sensor: {sensor!r} is not stored; {nearest_name(sensor, dict.fromkeys(known[:10000]))}"
            )
        return found


def inspect(
    store: Annotated[str, typer.Option("--store", help="the state store, such as redis://127.0.0.1:6379/0")],
    sensor: Annotated[str | None, typer.Option("--sensor", help="show one sensor's state")] = None,
    group: Annotated[str, typer.Option("--group", help="consumer group whose state it is")] = "forecaster",
    prefix: Annotated[str, typer.Option("--prefix", help="store.prefix of the configuration")] = "stream-engine",
    model: Annotated[str, typer.Option("--model", help="model that explains the state row")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show what is stored: sensors, positions, ages; with --sensor one sensor's state."""
    opened = open_store(store, prefix=prefix, group=group, is_made=False)
    opened.open(OPEN_S)
    try:
        stored = _Stored(opened)
        if sensor is None:
            _show_partitions(stored.metas(), as_json, f"group {group!r}, prefix {prefix!r}")
        else:
            _show_sensor(stored.find(sensor), model, as_json)
    finally:
        opened.close()


def _show_partitions(metas: dict[Partition, Meta], as_json: bool, where: str) -> None:
    rows: list[dict[str, object]] = [
        {
            "partition": str(partition),
            "sensors": meta.num_series,
            "position": meta.position,
            "model": meta.model,
            "state_bytes_per_sensor": 4 * meta.state_floats,
            "watermark": None if meta.watermark_ns is None else _time_text(meta.watermark_ns),
            "saved_at": _time_text(meta.saved_at_ns),
        }
        for partition, meta in sorted(metas.items())
    ]
    if as_json:
        typer.echo(orjson.dumps({"partitions": rows}).decode())
        return
    if not rows:
        typer.echo(f"nothing is stored for {where}; see --group and --prefix")
        return
    _print_table(rows)


def _print_table(rows: list[dict[str, object]]) -> None:
    table = Table()
    for name in rows[0]:
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


def _show_sensor(found: list[StoredSeries], model_name: str, as_json: bool) -> None:
    import torch  # takes seconds

    from recurrent_core.weights import load_model
    from stream_engine.stepper import served

    plain = load_model(model_name)
    models = {model.state_floats: model for model in (plain, served(plain, is_merging=True))}
    rows: list[dict[str, object]] = []
    states: list[dict[str, float]] = []
    for series in found:
        entry, state = series.shard.entries[series.row], series.shard.rows[series.row]
        if len(state) not in models:
            raise StoredStateError(
                f"the stored state has {len(state)} floats, but model {plain.name}@{plain.version} has "
                f"{plain.state_floats}; name the model that made it with --model"
            )
        name, channel = series.shard.keys[series.row]
        rows.append(
            {
                "partition": str(series.partition),
                "sensor": name,
                "channel": channel,
                "readings": int(entry["count"]),
                "digest": f"{int(entry['digest']):016x}",
                "last_reading": _time_text(int(entry["last_time_ns"])),
            }
        )
        told = models[len(state)].describe(torch.from_numpy(state.copy()))
        states.append({key: round(value, 6) for key, value in told.items()})
    if as_json:
        series_json = [{**row, "state": state} for row, state in zip(rows, states, strict=True)]
        typer.echo(orjson.dumps({"series": series_json}).decode())
        return
    for row, summary in zip(rows, states, strict=True):
        _print_table([row])
        _print_table([{"part of the state": name, "value": f"{value:g}"} for name, value in summary.items()])
