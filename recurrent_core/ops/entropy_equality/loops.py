"""The affine read-out over whole runs as compiled loops, for a CPU: forward, and backward with the states made again.

The same equations as `step`, with the diagonal of C_kk, which I am tested against. A row is one head of one slot; what
it gives depends on it alone. Its state is a flat array, means of keys and values, variances, covariances, and two
scalars, W and nu. I know nothing of tensors; `compiled` does.
"""

from functools import partial

import numpy as np

from recurrent_core.compiling import compiled, door
from recurrent_core.ops.entropy_equality.step import MAX_LOGIT_VARIANCE

EVERY = 16
"""Readings from one kept state to the next; on the way back as many states are made again at a time."""

quick = partial(compiled, is_reordered=True)
quick_door = partial(door, is_reordered=True)


@quick
def write(k, v, weight, scalars, state, e_k, e_v):
    """Write a pair into one row: as `step.write`."""
    d_k, d_v = len(k), len(v)
    mass = scalars[0] + weight
    a, b = weight / mass, scalars[0] / mass
    scalars[0] = mass
    scalars[1] = b * b * scalars[1] + a * a
    kind = state.dtype.type
    small, pull = kind(a), kind(b)
    is_small = a < 0.5
    variances, cross = d_k + d_v, 2 * d_k + d_v
    for j in range(d_v):
        e_v[j] = v[j] - state[d_k + j]
        state[d_k + j] += small * e_v[j]
    for i in range(d_k):
        e_k[i] = k[i] - state[i]
        state[i] += small * e_k[i]
        start = cross + i * d_v
        pulled = pull * e_k[i]
        if is_small:
            state[variances + i] += small * (pulled * e_k[i] - state[variances + i])
            for j in range(d_v):
                state[start + j] += small * (pulled * e_v[j] - state[start + j])
        else:
            state[variances + i] = pull * state[variances + i] + small * pulled * e_k[i]
            for j in range(d_v):
                state[start + j] = pull * state[start + j] + small * pulled * e_v[j]


@quick
def slope_of(u, d_v, state, rho2):
    """a = 1 / sqrt(1 + x / rho^2), and whether x is so large that it was cut."""
    d_k = len(u)
    x = state.dtype.type(0.0)
    for i in range(d_k):
        x += u[i] * u[i] * state[d_k + d_v + i]
    kind = state.dtype.type
    most = kind(MAX_LOGIT_VARIANCE)
    return kind(1.0) / np.sqrt(kind(1.0) + min(max(x, kind(0.0)), most) / kind(rho2)), x > most


@quick_door
def forward(u, k, v, log_decay, omega, rho2, scalars, state, kept_scalars, kept, o):
    """Walk every row.

    Args:
        u, k: [rows, time, d_k]; v: [rows, time, d_v].
        log_decay: [rows, time] float64; omega: [rows, time], 0 where not written.
        scalars: [rows, 2] float64, state: [rows, d_v + 2 d_k + d_k d_v]; become what they are after the run.
        kept_scalars, kept: [rows, blocks, ...], take the state before every EVERY-th reading; without blocks, none.
        o: [rows, time, d_v], filled.
    """
    rows, time, d_k = k.shape
    d_v = v.shape[2]
    e_k, e_v, tilt = np.empty(d_k, k.dtype), np.empty(d_v, k.dtype), np.empty(d_v, k.dtype)
    for row in range(rows):
        mine, two = state[row], scalars[row]
        for t in range(time):
            if t % EVERY == 0 and kept.shape[1] > 0:
                kept[row, t // EVERY] = mine
                kept_scalars[row, t // EVERY] = two
            two[0] *= np.exp(log_decay[row, t])
            if omega[row, t] > 0:
                write(k[row, t], v[row, t], np.float64(omega[row, t]), two, mine, e_k, e_v)
            slope, _ = slope_of(u[row, t], d_v, mine, rho2)
            tilt[:] = 0
            for i in range(d_k):
                start = 2 * d_k + d_v + i * d_v
                for j in range(d_v):
                    tilt[j] += u[row, t, i] * mine[start + j]
            for j in range(d_v):
                o[row, t, j] = mine[d_k + j] + slope * tilt[j]


@quick
def read_back(u, g_o, rho2, state, g_state, g_u):
    """The read-out's way back: what u and the state it read get from the output's gradient."""
    d_k, d_v = len(u), len(g_o)
    kind = state.dtype.type
    slope, is_cut = slope_of(u, d_v, state, rho2)
    g_slope = kind(0.0)
    for i in range(d_k):
        start = 2 * d_k + d_v + i * d_v
        along = kind(0.0)
        for j in range(d_v):
            along += state[start + j] * g_o[j]
            g_state[start + j] += u[i] * slope * g_o[j]
        g_slope += u[i] * along
        g_u[i] = slope * along
    g_x = kind(0.0) if is_cut else -g_slope * slope * slope * slope / (kind(2.0) * kind(rho2))
    for i in range(d_k):
        g_u[i] += kind(2.0) * g_x * u[i] * state[d_k + d_v + i]
        g_state[d_k + d_v + i] += g_x * u[i] * u[i]
    for j in range(d_v):
        g_state[d_k + j] += g_o[j]


@quick
def write_back(k, v, weight, decayed, nu, before, g_scalars, g_state, g_k, g_v):
    """The write's way back, from the gradients of the state after it to those of the one before, in place; of omega.

    Args:
        decayed, nu: W and nu before the write.
        before: the rest of the state before it.
    """
    d_k, d_v = len(k), len(v)
    kind = before.dtype.type
    mass = decayed + weight
    a, b = weight / mass, decayed / mass
    ab, small, pull = kind(a * b), kind(a), kind(b)
    g_product, g_kept, g_moved = kind(0.0), kind(0.0), kind(0.0)
    g_v[:] = 0
    for i in range(d_k):
        e = k[i] - before[i]
        start, variance = 2 * d_k + d_v + i * d_v, d_k + d_v + i
        along = kind(0.0)
        for j in range(d_v):
            g = g_state[start + j]
            along += g * (v[j] - before[d_k + j])
            g_kept += g * before[start + j]
            g_v[j] += g * e
            g_state[start + j] = pull * g
        g_product += e * along + g_state[variance] * e * e
        g_kept += g_state[variance] * before[variance]
        g_moved += g_state[i] * e
        g_k[i] = ab * (along + kind(2.0) * g_state[variance] * e) + small * g_state[i]
        g_state[variance] *= pull
        g_state[i] -= g_k[i]
    for j in range(d_v):
        g_moved += g_state[d_k + j] * (v[j] - before[d_k + j])
        g_v[j] = ab * g_v[j] + small * g_state[d_k + j]
        g_state[d_k + j] -= g_v[j]
    g_a = np.float64(g_moved) + b * np.float64(g_product) + 2.0 * a * g_scalars[1]
    g_b = np.float64(g_kept) + a * np.float64(g_product) + 2.0 * b * nu * g_scalars[1]
    g_omega = g_scalars[0] + b / mass * (g_a - g_b)
    g_scalars[0] += a / mass * (g_b - g_a)
    g_scalars[1] *= b * b
    return g_omega


@quick
def remake(row, first, last, k, v, log_decay, omega, scalars, states):
    """The states before each reading first ... last - 1 and after the last, from the one in place 0."""
    e_k, e_v = np.empty(k.shape[2], k.dtype), np.empty(v.shape[2], k.dtype)
    for t in range(first, last):
        now = t - first
        states[now + 1] = states[now]
        scalars[now + 1] = scalars[now]
        scalars[now + 1, 0] *= np.exp(log_decay[row, t])
        if omega[row, t] > 0:
            weight = np.float64(omega[row, t])
            write(k[row, t], v[row, t], weight, scalars[now + 1], states[now + 1], e_k, e_v)


@quick_door
def backward(
    u, k, v, log_decay, omega, rho2, kept_scalars, kept, g_o, g_scalars, g_state, g_u, g_k, g_v, g_log_decay, g_omega
):
    """Walk every row back.

    Args:
        u ... kept: as `forward` had and left them.
        g_o: gradient of the outputs.
        g_scalars, g_state: gradients of the end state; become those of the first.
        g_u ... g_omega: filled.
    """
    rows, time, d_k = k.shape
    d_v = v.shape[2]
    states, scalars = np.empty((EVERY + 1, state_size(d_k, d_v)), k.dtype), np.empty((EVERY + 1, 2))
    for row in range(rows):
        for block in range(kept.shape[1] - 1, -1, -1):
            first, last = block * EVERY, min(block * EVERY + EVERY, time)
            states[0], scalars[0] = kept[row, block], kept_scalars[row, block]
            remake(row, first, last, k, v, log_decay, omega, scalars, states)
            for t in range(last - 1, first - 1, -1):
                now = t - first
                read_back(u[row, t], g_o[row, t], rho2, states[now + 1], g_state[row], g_u[row, t])
                left = np.exp(log_decay[row, t])
                decayed = scalars[now, 0] * left
                g_k[row, t], g_v[row, t], g_omega[row, t] = 0, 0, 0
                if omega[row, t] > 0:
                    g_omega[row, t] = write_back(
                        k[row, t],
                        v[row, t],
                        np.float64(omega[row, t]),
                        decayed,
                        scalars[now, 1],
                        states[now],
                        g_scalars[row],
                        g_state[row],
                        g_k[row, t],
                        g_v[row, t],
                    )
                g_log_decay[row, t] = g_scalars[row, 0] * decayed
                g_scalars[row, 0] *= left


@quick
def state_size(d_k, d_v):
    """Floats of a row's state."""
    return 2 * d_k + d_v + d_k * d_v
