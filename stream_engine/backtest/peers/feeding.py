"""Feeds peers the readings of a history up to each origin, none after it, and asks them for forecasts.

I know nothing of the peers' libraries. Origins come in the order in which a replay judges them;
each sensor has peers of its own.
"""

from collections.abc import Callable, Sequence

import numpy as np

from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.backtest.peers.peer import Peer, Season
from stream_engine.backtest.peers.registry import recipe
from stream_engine.records import Float64s, Int64s

_MOST_STEPS_A_LEAD = 16

Tell = Callable[[str, int], None]
"""Takes a peer's name and how many forecasts it has just made."""


def chosen_sensors(num_sensors: int, most: int | None) -> Int64s:
    """Numbers of the sensors that peers forecast, evenly spaced; all where most is None."""
    if most is None or most >= num_sensors:
        return np.arange(num_sensors)
    return np.unique(np.linspace(0, num_sensors - 1, most).round().astype(np.int64))


class _Sensor:
    """One sensor's peers and its clock in steps."""

    def __init__(self, names: Sequence[str], step_ns: int, horizon: int) -> None:
        season = Season.of(step_ns)
        self._peers: dict[str, Peer] = {name: recipe(name).make(season) for name in names}
        self._step_ns = max(step_ns, 1)
        self._leads = np.arange(1, horizon + 1)
        self._first_ns: int | None = None
        self._last_tick = -1

    def learn(self, time_ns: int, value: float) -> None:
        """Take in a reading, unless it is none, or not after the last one."""
        if np.isnan(value):
            return
        if self._first_ns is None:
            self._first_ns = time_ns
        tick = self._tick(time_ns)
        if tick <= self._last_tick:
            return
        self._last_tick = tick
        for peer in self._peers.values():
            peer.learn(tick, value)

    def forecast(self, name: str, origin_ns: int, cadence_ns: int) -> Float64s | None:
        """One peer's forecast at origin + h * cadence, [horizon]."""
        if self._first_ns is None:
            return None
        ahead = np.maximum(np.rint(self._leads * cadence_ns / self._step_ns).astype(np.int64), 1)
        if ahead[-1] > _MOST_STEPS_A_LEAD * len(self._leads):
            return None
        found = self._peers[name].forecast(max(self._tick(origin_ns), self._last_tick), int(ahead[-1]))
        return None if found is None else found[ahead - 1]

    def _tick(self, time_ns: int) -> int:
        return round((time_ns - (self._first_ns or 0)) / self._step_ns)


class GridPeers:
    """Peers of some sensors of a grid; every tick is a step of the grid."""

    def __init__(
        self, history: GridHistory, horizon: int, names: Sequence[str], sensors: Int64s, tell: Tell = lambda *_: None
    ) -> None:
        self._history = history
        self._horizon = horizon
        self._names = names
        self._sensors = {int(number): _Sensor(names, history.step_ns, horizon) for number in sensors}
        self._next_row = 0
        self._tell = tell

    def forecast(self, rows: Int64s) -> dict[str, Float64s]:
        """name -> [b, N, horizon] from these origin rows [b], which come after those of the call before."""
        history = self._history
        shape = (len(rows), len(history.sensors), self._horizon)
        made = {name: np.full(shape, np.nan) for name in self._names}
        for number, row in enumerate(rows.tolist()):
            self._learn_up_to(row)
            origin_ns = int(history.times_ns[row])
            for name, forecasts in made.items():
                for sensor, peers in self._sensors.items():
                    found = peers.forecast(name, origin_ns, history.step_ns)
                    if found is not None:
                        forecasts[number, sensor] = found
                self._tell(name, len(self._sensors))
        return made

    def _learn_up_to(self, row: int) -> None:
        for now in range(self._next_row, row + 1):
            time_ns, values = int(self._history.times_ns[now]), self._history.values[now]
            for sensor, peers in self._sensors.items():
                peers.learn(time_ns, float(values[sensor]))
        self._next_row = row + 1


class ArrivalPeers:
    """Peers of some sensors whose readings come one by one; a tick is a sensor's own usual gap."""

    def __init__(
        self, history: ArrivalHistory, horizon: int, names: Sequence[str], sensors: Int64s, tell: Tell = lambda *_: None
    ) -> None:
        self._history = history
        self._horizon = horizon
        self._names = names
        steps_ns = usual_gaps_ns(history)
        self._sensors = {int(number): _Sensor(names, int(steps_ns[number]), horizon) for number in sensors}
        self._next = 0
        self._tell = tell

    def forecast(self, arrivals: Int64s, cadences_ns: Int64s) -> dict[str, Float64s]:
        """name -> [b, horizon] from the readings of these numbers [b], after those of the call before."""
        history = self._history
        made = {name: np.full((len(arrivals), self._horizon), np.nan) for name in self._names}
        for number in np.argsort(arrivals, kind="stable").tolist():
            arrival = int(arrivals[number])
            self._learn_up_to(arrival)
            peers = self._sensors.get(int(history.series[arrival]))
            if peers is None:
                continue
            origin_ns, cadence_ns = int(history.times_ns[arrival]), int(cadences_ns[number])
            for name, forecasts in made.items():
                found = peers.forecast(name, origin_ns, cadence_ns)
                if found is not None:
                    forecasts[number] = found
                self._tell(name, 1)
        return made

    def _learn_up_to(self, arrival: int) -> None:
        history = self._history
        for now in range(self._next, arrival + 1):
            peers = self._sensors.get(int(history.series[now]))
            if peers is not None:
                peers.learn(int(history.times_ns[now]), float(history.values[now]))
        self._next = max(self._next, arrival + 1)


def usual_gaps_ns(history: ArrivalHistory) -> Int64s:
    """Each sensor's median time from reading to reading; that of all where it has none."""
    times = history.readings()
    found = np.full(len(history.sensors), history.step_ns, np.int64)
    for number, (start, end) in enumerate(zip(times.starts[:-1].tolist(), times.starts[1:].tolist(), strict=True)):
        gaps = np.diff(times.times_ns[start:end])
        gaps = gaps[gaps > 0]
        if len(gaps):
            found[number] = int(np.median(gaps))
    return found
