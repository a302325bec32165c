"""Numbers, times and judgements as a person reads them.

I know nothing of HTML: what I give out is plain text and is not escaped.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

NONE = "–"
NS_PER_S = 1_000_000_000
_SPANS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
CHANCE = 0.05


def number(value: float | None) -> str:
    """A score with about four figures.

    >>> number(3.50421), number(17.7), number(132.08), number(1234567.0), number(None), number(0.00041)
    ('3.504', '17.70', '132.1', '1,234,567', '–', '0.00041')
    """
    if value is None or value != value:
        return NONE
    size = abs(value)
    if 0 < size < 0.01:
        return f"{value:.2g}"
    digits = next((digits for limit, digits in ((10, 3), (100, 2), (1_000, 1)) if size < limit), 0)
    return f"{value:,.{digits}f}"


def tick(value: float) -> str:
    """A number at an axis, as short as it can be.

    >>> tick(0.30000000000000004), tick(2000.0), tick(-12500.0), tick(1500000.0), tick(0.0)
    ('0.3', '2,000', '-12.5k', '1.5M', '0')
    """
    size = abs(value)
    if size >= 1e4:
        return f"{value / 1e3:.6g}k" if size < 1e6 else f"{value / 1e6:.6g}M" if size < 1e9 else f"{value:.3g}"
    return f"{value:,.0f}" if size >= 1_000 else f"{value:.6g}" if size >= 1e-4 or size == 0 else f"{value:.1g}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 in percent.

    >>> percent(0.79531), percent(None)
    ('79.5 %', '–')
    """
    return NONE if share is None or share != share else f"{100 * share:.{digits}f} %"


def p_value(value: float | None) -> str:
    """A probability.

    >>> p_value(0.0), p_value(0.0314), p_value(0.7)
    ('< 0.001', '0.031', '0.70')
    """
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def change(ratio: float) -> str:
    """A ratio of errors in words.

    >>> change(0.826), change(1.1), change(1.0004)
    ('17.4 % less error', '10.0 % more error', 'the same error')
    """
    if abs(ratio - 1) < 0.0005:
        return "the same error"
    return f"{100 * abs(1 - ratio):.1f} % {'less' if ratio < 1 else 'more'} error"


def counted(num: int, what: str) -> str:
    """A number with its noun.

    >>> counted(1, "sensor"), counted(1200, "sensor")
    ('1 sensor', '1,200 sensors')
    """
    return f"{num:,} {what}{'' if num == 1 else 's'}"


def length(ns: int) -> str:
    """A length of time in its largest unit: a whole number of them, or about so many.

    >>> length(300 * 10**9), length(3_600 * 10**9), length(10_802 * 10**9), length(10**6)
    ('5 minutes', '1 hour', 'about 3 hours', '0.001 seconds')
    """
    unit, name = next(((unit, name) for unit, name in _SPANS if ns >= unit * NS_PER_S), (1, "second"))
    for seconds, whole in _SPANS:
        if ns >= seconds * NS_PER_S and ns % (seconds * NS_PER_S) == 0 and ns < 120 * seconds * NS_PER_S:
            return counted(ns // (seconds * NS_PER_S), whole)
    about = "about " if unit > 1 else ""
    return f"{about}{ns / unit / NS_PER_S:.3g} {name}s"


def every(ns: int) -> str:
    """How often something comes.

    >>> every(3_600 * 10**9), every(300 * 10**9)
    ('every hour', 'every 5 minutes')
    """
    return f"every {length(ns).removeprefix('1 ')}"


def moment(time_ns: int, timezone: ZoneInfo, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time by the clocks of a zone."""
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).astimezone(timezone).strftime(form)


def days(first_ns: int, last_ns: int, timezone: ZoneInfo) -> str:
    """The local days from one time to another."""
    first, last = (moment(one, timezone, "%-d %b %Y") for one in (first_ns, last_ns))
    if first == last:
        return first
    return f"{first[:-5] if first[-4:] == last[-4:] else first} to {last}"


def judged_coverage(share: float | None) -> str:
    """How an 80 % interval kept its word."""
    if share is None:
        return NONE
    if abs(share - 0.8) <= 0.02:
        return "as promised"
    return "too narrow" if share < 0.8 else "too wide"
