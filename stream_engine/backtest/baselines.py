"""Forecasts that cost nothing, to measure a model against: persistence, and the same time a day or a week ago.

I know nothing of models or scores. Every forecast reads only what has arrived by its origin.

    persistence           the last reading
    seasonal_naive        one day before the target time (daily data: a week), else the nearest earlier day that has one
    seasonal_naive_week   the same with weeks

Where even that does not exist there is no forecast (NaN). `peers` has the forecasters of other libraries.
"""

from collections.abc import Sequence

import numpy as np

from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.backtest.nearest import NONE, nearest_rows
from stream_engine.backtest.peers.registry import PEERS, check_installed
from stream_engine.errors import ConfigError, nearest_name
from stream_engine.records import Float64s, Int64s

DAY_NS = 86_400_000_000_000
WEEK_NS = 7 * DAY_NS

PERSISTENCE, SEASONAL, SEASONAL_WEEK = "persistence", "seasonal_naive", "seasonal_naive_week"
BASELINES = (PERSISTENCE, SEASONAL, SEASONAL_WEEK)
KNOWN = (*BASELINES, *PEERS)
"""All that can be asked for by name; the peers cost time, so they are not among the usual ones."""


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names in their usual order, each once.

    Raises:
        ConfigError: one is unknown, or its library is not installed.
    """
    for name in names:
        if name not in KNOWN:
            raise ConfigError(f"--baselines: there is no baseline {name!r}; {nearest_name(name, KNOWN)}")
    check_installed(names)
    return tuple(name for name in KNOWN if name in names)


def season_ns(name: str, step_ns: int) -> int:
    """How far back a seasonal baseline looks."""
    return WEEK_NS if name == SEASONAL_WEEK or step_ns >= DAY_NS else DAY_NS


class GridBaselines:
    """Forecasts of every sensor from rows of a grid."""

    def __init__(self, history: GridHistory, horizon: int, names: Sequence[str]) -> None:
        self._history = history
        self._leads = np.arange(1, horizon + 1)
        self._names = names
        self._last = _last_seen(history.values) if PERSISTENCE in names else history.values

    def forecast(self, rows: Int64s) -> dict[str, Float64s]:
        """Each baseline's forecasts from these origin rows [b]: name -> [b, N, horizon]."""
        found = {}
        for name in self._names:
            if name == PERSISTENCE:
                last = self._last[rows][:, :, None]
                found[name] = np.broadcast_to(last, (*last.shape[:2], len(self._leads)))
            else:
                found[name] = self._seasonal(rows, season_ns(name, self._history.step_ns))
        return found

    def _seasonal(self, rows: Int64s, season: int) -> Float64s:
        history = self._history
        found = np.full((len(rows), len(history.sensors), len(self._leads)), np.nan)
        seasons_back = -(-self._leads * history.step_ns // season)
        for fewest in np.unique(seasons_back).tolist():
            leads = np.flatnonzero(seasons_back == fewest)
            targets_ns = history.times_ns[rows][:, None] + self._leads[leads] * history.step_ns
            distinct, index = np.unique(targets_ns, return_inverse=True)
            seen = self._seasons_before(distinct, fewest, season)
            found[:, :, leads] = seen[index.reshape(targets_ns.shape)].transpose(0, 2, 1)
        return found

    def _seasons_before(self, times_ns: Int64s, fewest: int, season: int) -> Float64s:
        """The reading `fewest` seasons before each time, else one season more, and so on; [times, N]."""
        history = self._history
        found = np.full((len(times_ns), len(history.sensors)), np.nan)
        wanted, sensor = np.nonzero(np.isnan(found))
        back = fewest
        while len(wanted) and times_ns[-1] - back * season >= history.times_ns[0] - history.step_ns:
            row = nearest_rows(history.times_ns, times_ns - back * season, history.step_ns // 2)[wanted]
            found[wanted, sensor] = np.where(row == NONE, np.nan, history.values[row, sensor])
            is_missing = np.isnan(found[wanted, sensor])
            wanted, sensor = wanted[is_missing], sensor[is_missing]
            back += 1
        return found


class ArrivalBaselines:
    """Forecasts at single readings."""

    def __init__(self, history: ArrivalHistory, horizon: int, names: Sequence[str]) -> None:
        self._history = history
        self._leads = np.arange(1, horizon + 1)
        self._names = names
        self._times = history.readings()

    def forecast(self, arrivals: Int64s, cadences_ns: Int64s) -> dict[str, Float64s]:
        """Each baseline's forecasts from the readings of these numbers [b]: name -> [b, horizon]."""
        found = {}
        for name in self._names:
            if name == PERSISTENCE:
                last = self._history.values[arrivals][:, None]
                found[name] = np.broadcast_to(last, (len(last), len(self._leads)))
            else:
                found[name] = self._seasonal(arrivals, cadences_ns, season_ns(name, self._history.step_ns))
        return found

    def _seasonal(self, arrivals: Int64s, cadences_ns: Int64s, season: int) -> Float64s:
        history = self._history
        ahead_ns = cadences_ns[:, None] * self._leads
        found = np.full(ahead_ns.shape, np.nan)
        origin, lead = np.nonzero(np.isnan(found))
        back = -(-ahead_ns // season)
        first_ns = history.span_ns[0]
        while len(origin):
            wanted_ns = history.times_ns[arrivals[origin]] + ahead_ns[origin, lead] - back[origin, lead] * season
            seen = self._times.nearest(history.series[arrivals[origin]], wanted_ns, cadences_ns[origin] // 2)
            is_known = (seen != NONE) & (seen <= arrivals[origin])
            found[origin, lead] = np.where(is_known, history.values[seen], np.nan)
            back[origin, lead] += 1
            is_open = ~is_known & (wanted_ns - season >= first_ns - cadences_ns[origin])
            origin, lead = origin[is_open], lead[is_open]
        return found


def _last_seen(values: Float64s) -> Float64s:
    """Each sensor's last reading at or before each row, [T, N]."""
    rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    np.maximum.accumulate(rows, axis=0, out=rows)
    return np.take_along_axis(values, rows, axis=0)
