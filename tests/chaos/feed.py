"""Readings that keep coming while things break, with records among them that cannot be readings."""

import random
import threading
from collections.abc import Iterator

import orjson

from tests.support.topics import NewRecord, produce

POISON = (
    b"poison",
    b'{"sensor": "poison", "ts": 1',
    b'{"sensor": "poison", "ts": 1700000000000, "value": "cold"}',
    b"",
)
CADENCE_MS = 300_000
BROKER_AWAY_S = 120.0


class Feed:
    """A fleet of sensors whose readings go to one topic, tick by tick; its thread lives from `start` to `stop`."""

    def __init__(self, servers: str, topic: str, num_sensors: int, seed: int) -> None:
        self._servers = servers
        self._topic = topic
        self._names = [f"s-{number:03d}" for number in range(num_sensors)]
        self._draw = random.Random(seed)
        self._tick = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="feed", daemon=True)
        self._fault: BaseException | None = None

    def send(self, num_ticks: int) -> None:
        """Send some ticks at once."""
        records = [record for _ in range(num_ticks) for record in self._one_tick()]
        produce(self._servers, self._topic, records, timeout_s=BROKER_AWAY_S)

    def _one_tick(self) -> Iterator[NewRecord]:
        self._tick += 1
        for name in self._names:
            if self._draw.random() < 0.01:
                yield NewRecord(self._draw.choice(POISON), key=name.encode())
            value = round(20 + 5 * self._draw.gauss(0, 1), 3)
            body = {"sensor": name, "ts": 1_700_000_000_000 + self._tick * CADENCE_MS, "value": value}
            yield NewRecord(orjson.dumps(body), key=name.encode())

    def start(self) -> None:
        """Send a tick five times a second."""
        self._thread.start()

    def _go_on(self) -> None:
        try:
            while not self._is_over.wait(0.2):
                self.send(1)
        except BaseException as fault:  # noqa: BLE001 - raised again by stop
            self._fault = fault

    def stop(self) -> None:
        """Send no more."""
        self._is_over.set()
        self._thread.join()
        if self._fault is not None:
            raise self._fault
