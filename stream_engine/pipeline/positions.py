"""Where a partition begins: the two positions, *folded* (with the state) and *emitted* (committed).

    earliest ≤ folded ──silent replay──▶ emitted ──live──▶ latest

Values in, values out: I ask nobody.
"""

from dataclasses import dataclass

from connectors.records import Bounds, Position


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a partition begins.

    Attributes:
        folded: the first record to read; up to emitted nothing is sent.
        emitted: the first record whose forecasts are to be sent.
        warnings: what an operator should know.
    """

    folded: Position
    emitted: Position
    warnings: tuple[str, ...] = ()


def where_to_begin(
    stored: Position | None, committed: Position | None, bounds: Bounds, rebuilt: Position, start: str
) -> Begin:
    """Decide from what the store, the group and the log say.

    Args:
        stored: position of the stored state, at most committed and latest; None if there is no state.
        committed: the group's committed position; None if there is none.
        bounds: what the log still holds.
        rebuilt: where the state begins that is not stored, unless more is to be sent; at least bounds.earliest.
        start: `earliest` or `latest`, for a group that has never committed.
    """
    warnings = []
    if committed is not None and committed > bounds.latest:
        warnings.append(
            f"the committed position {committed} lies beyond the log's end {bounds.latest}: the topic was "
            f"recreated or truncated; forecasts go on from its earliest record {bounds.earliest}"
        )
        committed = bounds.earliest
    if committed is not None and committed < bounds.earliest:
        warnings.append(
            f"the committed position {committed} lies before the earliest record {bounds.earliest}: "
            f"{bounds.earliest - committed} records were removed before they were read; raise the topic's retention"
        )
        committed = bounds.earliest
    if stored is not None and stored < bounds.earliest:
        warnings.append(
            f"the stored state stands at {stored}, before the earliest record {bounds.earliest}: its sensors "
            "miss what was removed in between; raise the topic's retention"
        )
        stored = bounds.earliest
    if committed is not None:
        emitted = committed
    elif stored is not None:
        emitted = stored
    else:
        emitted = bounds.latest if start == "latest" else bounds.earliest
    folded = rebuilt if stored is None else stored
    return Begin(min(folded, emitted), emitted, tuple(warnings))
