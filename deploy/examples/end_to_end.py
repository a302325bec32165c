"""The main job on real readings, with kills: prove that nothing is lost and every state is right.

    python -m deploy.examples.end_to_end --readings 1000000 --kills 5

1. replays the first readings of ../shared/data/aarhus_traffic.npz (arrival order) into a real Kafka topic;
2. runs `stream-engine run` on it, kills it with SIGKILL again and again, and starts it again;
3. stops it with SIGTERM and reads the forecast topic with an ordinary librdkafka consumer;
4. runs the same once more without a kill (another group, another store prefix);
5. prints the account: readings in, forecasts out, dead letters, kills, states equal, score.

Ends with status 0 only if no forecast is missing and every sensor's count and digest of folded readings
equals the uninterrupted run's. Needs a real Kafka and Redis, which it starts itself (see tests/support).
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson

from connectors.registry import open_store
from stream_engine.checkpoint import Shard, decode_meta, decode_shard
from tests.support.kafka_server import KafkaServer
from tests.support.redis_server import RedisServer
from tests.support.topics import TopicRecord, committed_offsets, consume_all, create_topic
from tests.support.waiting import poll_for

DATA = Path(__file__).parents[3] / "shared" / "data" / "aarhus_traffic.npz"
PROGRAM = [sys.executable, "-m", "stream_engine.cli"]
NUM_PARTITIONS = 4
LEADS = (3, 6, 12)


@dataclass
class Account:
    """What one whole run came to."""

    readings: int = 0
    accepted: int = 0
    forecasts: int = 0
    distinct: int = 0
    missing: int = 0
    unexpected: int = 0
    dead_letters: int = 0
    kills: int = 0
    sensors: int = 0
    count_differs: int = 0
    digest_differs: int = 0
    state_differs: float = 0.0
    exit_statuses: list[int] = field(default_factory=list)
    mae: dict[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Nothing missing, nothing made up, every state equal to the uninterrupted run's."""
        wrong = self.missing + self.unexpected + self.count_differs + self.digest_differs
        return wrong == 0 and self.exit_statuses == [0, 0] and self.forecasts > 0 and self.sensors > 0

    def lines(self) -> Iterator[str]:
        """The account, for people."""
        yield f"readings in            {self.readings:>10}   of which accepted {self.accepted}"
        yield f"forecasts out          {self.forecasts:>10}   distinct {self.distinct}, sent again {self.repeated}"
        yield f"missing / unexpected   {self.missing:>10} / {self.unexpected}"
        yield f"dead letters           {self.dead_letters:>10}"
        yield f"kills                  {self.kills:>10}   exit status of the clean stops {self.exit_statuses}"
        yield (
            f"states                 {self.sensors:>10}   count differs {self.count_differs}, digest differs "
            f"{self.digest_differs}, largest difference of a state {self.state_differs:.1e}"
        )
        for lead, (model, persistence) in self.mae.items():
            yield f"MAE at lead {lead:<2}         {model:>10.3f}   persistence {persistence:.3f}"

    @property
    def repeated(self) -> int:
        """Forecasts sent more than once, as at-least-once may after a kill."""
        return self.forecasts - self.distinct


@dataclass(frozen=True)
class Place:
    """The servers and the folder of one run."""

    kafka: str
    redis: str
    folder: Path

    def config(self, name: str, sink: str) -> Path:
        """An engine.yaml for a group and a store prefix of that name."""
        path = self.folder / f"{name}.yaml"
        path.write_text(
            f"source: kafka://{self.kafka}/readings?group={name}\n"
            f"sink: kafka://{self.kafka}/{sink}\n"
            f"store: {{url: '{self.redis}', prefix: {name}}}\n"
            "model: default\n"
            "checkpoint_interval: 2s\n"
        )
        return path

    def start(self, config: Path) -> subprocess.Popen[bytes]:
        """Start `stream-engine run` as a process of its own; its log is kept beside the configuration."""
        with config.with_suffix(".log").open("ab") as log:
            return subprocess.Popen([*PROGRAM, "run", "-c", str(config)], stdout=log, stderr=log)

    def folded(self, group: str) -> int:
        """Records whose readings are in the stored states, over all partitions."""
        store = open_store(self.redis, prefix=group, group=group)
        store.open(10.0)
        try:
            found = [store.look(partition) for partition in store.partitions()]
            return sum(decode_meta(one.meta).position for one in found if one is not None and one.meta is not None)
        finally:
            store.close()

    def committed(self, group: str) -> int:
        """Records whose forecasts are out, over all partitions."""
        return sum(committed_offsets(self.kafka, group, "readings").values())


def replay(place: Place, num_readings: int) -> None:
    """Send the first readings of the real data, in the order they arrived."""
    create_topic(place.kafka, "readings", NUM_PARTITIONS)
    command = ["replay", str(DATA), "--channel", "speed", "--limit", str(num_readings)]
    subprocess.run([*PROGRAM, *command, "--to", f"kafka://{place.kafka}/readings"], check=True)


def run_with_kills(place: Place, config: Path, group: str, total: int, kills: int, seed: int) -> list[int]:
    """Run until everything is committed, killing the engine on the way; exit statuses of the clean stop."""
    chance = random.Random(seed)
    marks = sorted(chance.randrange(total // 20, max(total * 9 // 10, total // 20 + 1)) for _ in range(kills))
    for mark in marks:
        engine = place.start(config)
        poll_for(lambda mark=mark: place.committed(group) >= mark, 600.0, 0.2, f"position {mark} of {group}")
        time.sleep(chance.uniform(0.0, 0.5))
        engine.send_signal(signal.SIGKILL)
        engine.wait()
    engine = place.start(config)

    def is_done() -> bool:
        return place.committed(group) >= total and place.folded(group) >= total

    poll_for(lambda: is_done() or engine.poll() is not None, 1800.0, 0.2, f"the end of {group}")
    engine.send_signal(signal.SIGTERM)
    return [engine.wait(timeout=60)]


def accepted_readings(records: Sequence[TopicRecord]) -> dict[tuple[str, int], float]:
    """What the engine should fold: each sensor's readings in order, none late, none double."""
    last: dict[str, int] = {}
    accepted: dict[tuple[str, int], float] = {}
    for record in records:
        reading = orjson.loads(record.value or b"{}")
        sensor, ts, value = reading["sensor"], reading["ts"], reading["value"]
        if value is not None and ts > last.get(sensor, -1):
            last[sensor] = ts
            accepted[(sensor, ts)] = value
    return accepted


def check_forecasts(account: Account, readings: dict[tuple[str, int], float], records: Sequence[TopicRecord]) -> None:
    """Every accepted reading has its forecast, and nothing else has one; then score them."""
    wanted = {f"{sensor}||{ts}" for sensor, ts in readings}
    found: Counter[str] = Counter()
    errors: dict[int, list[tuple[float, float]]] = {lead: [] for lead in LEADS}
    for record in records:
        name = dict(record.headers)["forecast-id"].decode().rpartition("|")[0]
        found[name] += 1
        if found[name] == 1:
            _score(orjson.loads(record.value or b"{}"), readings, errors)
    account.forecasts = len(records)
    account.distinct = len(found)
    account.missing = len(wanted - found.keys())
    account.unexpected = len(found.keys() - wanted)
    account.mae = {
        lead: (float(np.mean([m for m, _ in pairs])), float(np.mean([p for _, p in pairs])))
        for lead, pairs in errors.items()
        if pairs
    }


def _score(
    forecast: dict[str, object],
    readings: dict[tuple[str, int], float],
    errors: dict[int, list[tuple[float, float]]],
) -> None:
    sensor, origin, cadence = str(forecast["sensor"]), int(str(forecast["origin"])), int(str(forecast["cadence_ms"]))
    median = forecast["quantiles"]["0.5"]  # type: ignore[index]
    for lead, pairs in errors.items():
        truth = readings.get((sensor, origin + lead * cadence))
        if truth is not None:
            pairs.append((abs(truth - median[lead - 1]), abs(truth - readings[(sensor, origin)])))


def stored_states(place: Place, group: str) -> dict[tuple[str, str], Shard]:
    """Every series' stored entry and state row, as one-row shards."""
    store = open_store(place.redis, prefix=group, group=group)
    store.open(10.0)
    states: dict[tuple[str, str], Shard] = {}
    try:
        for partition in store.partitions():
            stored = store.look(partition)
            if stored is None or stored.meta is None:
                continue
            layout = decode_meta(stored.meta).layout_id
            for blob in store.load(partition, stored.shards):
                shard = decode_shard(layout, blob or b"")
                for row, key in enumerate(shard.keys):
                    states[key] = Shard([key], shard.entries[row : row + 1], shard.rows[row : row + 1])
    finally:
        store.close()
    return states


def check_states(account: Account, killed: dict[tuple[str, str], Shard], serial: dict[tuple[str, str], Shard]) -> None:
    """Count and digest of the readings folded are equal for every sensor; states agree within rounding."""
    account.sensors = len(serial)
    account.count_differs = len(killed.keys() ^ serial.keys())
    for key in killed.keys() & serial.keys():
        mine, other = killed[key], serial[key]
        account.count_differs += int(mine.entries["count"][0] != other.entries["count"][0])
        account.digest_differs += int(mine.entries["digest"][0] != other.entries["digest"][0])
        size = np.maximum(1.0, np.abs(other.rows))
        account.state_differs = max(account.state_differs, float(np.nanmax(np.abs(mine.rows - other.rows) / size)))


def run(num_readings: int, kills: int, seed: int) -> Account:
    """The whole proof on servers of its own."""
    account = Account(kills=kills)
    with tempfile.TemporaryDirectory() as folder, closing(KafkaServer()) as kafka, closing(RedisServer()) as redis:
        kafka.start()
        redis.start()
        place = Place(kafka.servers, redis.url, Path(folder))
        replay(place, num_readings)
        sent = consume_all(place.kafka, "readings")
        account.readings = len(sent)
        for group, sink, times in (("killed", "forecasts", kills), ("serial", "forecasts-serial", 0)):
            config = place.config(group, sink)
            account.exit_statuses += run_with_kills(place, config, group, len(sent), times, seed)
            if account.exit_statuses[-1]:
                print(config.with_suffix(".log").read_text()[-4000:])
        readings = accepted_readings(sent)
        account.accepted = len(readings)
        check_forecasts(account, readings, consume_all(place.kafka, "forecasts"))
        dead = "readings.dlq"
        account.dead_letters = len(consume_all(place.kafka, dead))
        check_states(account, stored_states(place, "killed"), stored_states(place, "serial"))
    return account


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=1_000_000, help="how many real readings (default: 1000000)")
    parser.add_argument("--kills", type=int, default=5, help="how often the engine is killed (default: 5)")
    parser.add_argument("--seed", type=int, default=7, help="of the moments of the kills (default: 7)")
    asked = parser.parse_args()
    if not DATA.exists():
        print(f"{DATA} is not there; this example needs the shared data folder beside the project", file=sys.stderr)
        return 2
    account = run(asked.readings, asked.kills, asked.seed)
    print("\n".join(account.lines()))
    return 0 if account.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
