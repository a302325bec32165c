"""Attention across a group's members while readings come one by one, kept incrementally.

A group's members are the series that had a reading in its newest tick or the tick before. Of either tick the group
keeps the sums of what they say; a reading takes the place of its series' last one. A sum begins empty with its tick,
so no rounding in it is older. I know nothing of networks, clocks or who owns the slab.
"""

import numpy as np

from recurrent_core.compiling import compiled, door
from recurrent_core.models.elinformer.group_net import RHO2
from recurrent_core.models.elinformer.layout import GROUP_HEADS as HEADS
from recurrent_core.models.elinformer.layout import GROUP_WIDTH as WIDTH
from recurrent_core.models.elinformer.layout import NUM_TOLD

NUM_SUMS = 1 + HEADS * (3 * WIDTH + WIDTH * WIDTH)
"""Of a tick: how many members, and of each head the sums of k, v, k k (one by one) and k v'."""
GROUP_FLOATS = 1 + 2 * NUM_SUMS
"""Of a group: its newest tick, then the sums of that tick and of the one before."""
TICK_TURN = 2.0**24
"""A note keeps its tick modulo this, and 1 more, exactly: 0 is no tick."""
NO_TICK = -1e15
"""The newest tick of a group that nobody has told anything."""


@door
def hear(table, slots, said, may, order, rank, tick, of, groups, heard):
    """Let readings tell their groups what they say, and hear of them, in the order given.

    Args:
        table: [rows, NUM_TOLD + 1] float32, what each series told last and in which tick, changed.
        slots: [n] row of each reading.
        said: [n, 3, HEADS, WIDTH] float32: query, key and value of each head.
        may: [n] bool, whether it tells anything; a question does not.
        order: [n] the readings in the order they are heard in; rank: [n] of each: those of equal rank, which stand side
            by side in the order, hear each other.
        tick: [n] float64, whole. of: [n] row of groups.
        groups: [groups, GROUP_FLOATS] float64, changed.
        heard: [n, HEADS * WIDTH] float32, written; 0 where the group has no members.
    """
    start, num = 0, len(order)
    sums = np.empty(NUM_SUMS)
    while start < num:
        stop = start
        while stop < num and rank[order[stop]] == rank[order[start]]:
            i = order[stop]
            if may[i]:
                tell(table[slots[i]], said[i], tick[i], groups[of[i]])
            stop += 1
        for place in range(start, stop):
            i = order[place]
            listen(groups[of[i]], tick[i], said[i], sums, heard[i])
        start = stop


@compiled
def tell(note, said, tick, group):
    """Put what a series says in place of what it said last."""
    newest = group[0]
    if tick > newest:
        group[1 + NUM_SUMS :] = 0.0
        if tick == newest + 1.0:
            group[1 + NUM_SUMS :] = group[1 : 1 + NUM_SUMS]
        group[1 : 1 + NUM_SUMS] = 0.0
        group[0] = newest = tick
    elif tick < newest - 1.0:
        return
    if note[NUM_TOLD] == newest % TICK_TURN + 1.0:
        add(group[1 : 1 + NUM_SUMS], note, -1.0)
    elif note[NUM_TOLD] == (newest - 1.0) % TICK_TURN + 1.0:
        add(group[1 + NUM_SUMS :], note, -1.0)
    for head in range(HEADS):
        for d in range(WIDTH):
            note[head * WIDTH + d] = said[1, head, d]
            note[(HEADS + head) * WIDTH + d] = said[2, head, d]
    note[NUM_TOLD] = tick % TICK_TURN + 1.0
    if tick == newest:
        add(group[1 : 1 + NUM_SUMS], note, 1.0)
    else:
        add(group[1 + NUM_SUMS :], note, 1.0)


@compiled
def add(sums, note, sign):
    """Add a series' keys and values to a tick's sums, or take them out."""
    sums[0] += sign
    at = 1
    for head in range(HEADS):
        keys, values = note[head * WIDTH :], note[(HEADS + head) * WIDTH :]
        for d in range(WIDTH):
            key = np.float64(keys[d])
            sums[at + d] += sign * key
            sums[at + WIDTH + d] += sign * np.float64(values[d])
            sums[at + 2 * WIDTH + d] += sign * key * key
            for e in range(WIDTH):
                sums[at + (3 + d) * WIDTH + e] += sign * key * np.float64(values[e])
        at += (3 + WIDTH) * WIDTH


@compiled
def listen(group, tick, said, sums, heard):
    """The affine read-out of the members there are at a tick."""
    newest = group[0]
    sums[:] = 0.0
    if tick <= newest + 1.0:
        sums += group[1 : 1 + NUM_SUMS]
    if tick <= newest:
        sums += group[1 + NUM_SUMS :]
    mass = sums[0]
    if mass < 0.5:
        heard[:] = 0.0
        return
    sums /= mass
    at = 1
    for head in range(HEADS):
        variance = 0.0
        for d in range(WIDTH):
            spread = sums[at + 2 * WIDTH + d] - sums[at + d] ** 2
            variance += np.float64(said[0, head, d]) ** 2 * max(spread, 0.0)
        slope = 1.0 / np.sqrt(1.0 + variance / RHO2)
        for e in range(WIDTH):
            value, moved = sums[at + WIDTH + e], 0.0
            for d in range(WIDTH):
                moved += np.float64(said[0, head, d]) * (sums[at + (3 + d) * WIDTH + e] - sums[at + d] * value)
            heard[head * WIDTH + e] = value + slope * moved
        at += (3 + WIDTH) * WIDTH
