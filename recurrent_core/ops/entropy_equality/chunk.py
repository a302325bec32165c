"""Whole runs at once, chunk by chunk: the state goes in, all outputs and the end state come out.

I know nothing of how queries are made. All arithmetic of a chunk is centred on the incoming key and
value means (on the first pair if the state is empty), and ages are taken in float64 and masked before
exp, so that long gaps neither overflow nor lose digits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recurrent_core.checks import check_device, check_shape
from recurrent_core.ops.entropy_equality.moments import Moments
from recurrent_core.ops.entropy_equality.step import MAX_LOGIT_VARIANCE, read_ridge, relative_ridge
from recurrent_core.ops.run import Run


@dataclass(frozen=True, slots=True)
class Prior:
    """What each reader weighs a chunk's pairs with.

    Attributes:
        p: [..., readers, time + 1], rows of sum 1; the last column weighs the state that came in.
        mass: W at each reader, [..., readers].
    """

    p: Tensor
    mass: Tensor


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk about a centre (ck, cv), with the state that came in as one more, spread-out pair.

    Attributes:
        run: the pairs, zero where not written.
        kc, vc: centred pairs and, last, the state's means: [..., time + 1, d_k] and [..., time + 1, d_v].
        ck, cv: the centre, [..., 1, d_k] and [..., 1, d_v].
        state: what came in.
    """

    run: Run
    kc: Tensor
    vc: Tensor
    ck: Tensor
    cv: Tensor
    state: Moments


def attend_affine(
    u: Tensor,
    run: Run,
    state: Moments,
    rho2: Tensor | float = 2.0,
    *,
    is_past_only: bool = False,
    chunk_size: int = 128,
) -> tuple[Tensor, Moments]:
    """The affine read-out at every reading of a run.

    Args:
        u: scaled queries, [..., time, d_k].
        run: the pairs, time >= 1.
        state: [...], full or diagonal; its dtype is the one computed in.
        rho2: cap of the slope, spreads over [...].
        is_past_only: a reading does not see its own pair (it is read before the write).
        chunk_size: readings taken at once; cost grows with it, dispatch overhead falls.
    Returns:
        o: [..., time, d_v] in the state's dtype; the state after the run.
    """
    cap = torch.as_tensor(rho2, dtype=state.mass.dtype, device=state.mass.device).unsqueeze(-1)

    def read(queries: Tensor, chunk: Chunk) -> Tensor:
        return _read_affine(queries, chunk, cap, is_past_only=is_past_only)

    return _by_chunks(u, run, state, chunk_size, read)


def attend_ridge(
    q: Tensor,
    run: Run,
    state: Moments,
    ridge: Callable[[Moments], Tensor] = relative_ridge,
    *,
    rho2: float | None = None,
    is_past_only: bool = False,
    chunk_size: int = 16,
) -> tuple[Tensor, Moments]:
    """The ridge read-out at every reading of a run.

    Args:
        q: queries in the keys' space, [..., time, d_k].
        run: the pairs, time >= 1.
        state: [...], full.
        ridge: gives r, [..., time], of the moments at every reading.
        rho2: cap, as of `step.read_ridge`.
        is_past_only: a reading does not see its own pair.
        chunk_size: readings whose moments are laid out at once, [..., chunk_size, d_k, d_k].
    Returns:
        o: [..., time, d_v] in the state's dtype; the state after the run.
    """

    def read(queries: Tensor, chunk: Chunk) -> Tensor:
        at = _moments(chunk, _prior(chunk, is_past_only=is_past_only))
        return read_ridge(at, queries, ridge(at), rho2=rho2)

    return _by_chunks(q, run, state, chunk_size, read)


def moments_along(run: Run, state: Moments, *, is_past_only: bool = False) -> Moments:
    """The moments at every reading of a short run, batch shape [..., time]; at -1 stands the end state.

    C_kk is symmetric up to rounding.

    Args:
        run: the pairs; memory grows with time^2 (d_k + d_v).
        state: [...], what came in.
        is_past_only: the moments before each write, instead of after it.
    """
    _check_run(run, state)
    chunk = _centred(run, state)
    return _moments(chunk, _prior(chunk, is_past_only=is_past_only))


def advance(run: Run, state: Moments, *, chunk_size: int = 128) -> Moments:
    """The state after a run that nobody reads, [...]."""
    _check_run(run, state)
    for start in range(0, run.num_readings, chunk_size):
        part = run.part(start, min(start + chunk_size, run.num_readings))
        state = _end_state(_centred(part, state))
    return state


def _by_chunks(
    queries: Tensor, run: Run, state: Moments, chunk_size: int, read: Callable[[Tensor, Chunk], Tensor]
) -> tuple[Tensor, Moments]:
    """Walk the run in chunks, carrying the state."""
    check_shape("queries", queries, *state.batch_shape, run.num_readings, state.d_k)
    _check_run(run, state)
    queries = queries.to(state.mass.dtype)
    outputs = []
    for start in range(0, run.num_readings, chunk_size):
        stop = min(start + chunk_size, run.num_readings)
        chunk = _centred(run.part(start, stop), state)
        outputs.append(read(queries[..., start:stop, :], chunk))
        state = _end_state(chunk)
    return torch.cat(outputs, dim=-2), state


def _check_run(run: Run, state: Moments) -> None:
    """Refuse a run that does not fit the state."""
    check_shape("k", run.k, *state.batch_shape, run.num_readings, state.d_k)
    check_shape("v", run.v, *state.batch_shape, run.num_readings, state.d_v)
    check_device("k", run.k, state.mass)


def _end_state(chunk: Chunk) -> Moments:
    """The state after the chunk, [...]; symmetric to the bit."""
    axis = len(chunk.state.batch_shape)
    end = _moments(chunk, _prior(chunk, is_last_only=True)).map(lambda field: field.squeeze(axis))
    if end.is_diagonal:
        return end
    return replace(end, key_cov=0.5 * (end.key_cov + end.key_cov.mT))


def _centred(run: Run, state: Moments) -> Chunk:
    """Centre a chunk on the state's means, or on the first pair written where the state is empty.

    The centre cancels from every result, so no gradient flows through it.
    """
    run = run.masked()
    k, v = run.k.to(state.mass.dtype), run.v.to(state.mass.dtype)
    is_empty = (state.mass == 0) & run.is_written.any(-1)
    first = run.is_written.to(torch.int8).argmax(-1)[..., None, None]

    def centre(pairs: Tensor, mean: Tensor) -> Tensor:
        first_pair = pairs.gather(-2, first.expand(*first.shape[:-1], pairs.shape[-1]))
        return torch.where(is_empty[..., None, None], first_pair, mean.unsqueeze(-2)).detach()

    ck, cv = centre(k, state.key_mean), centre(v, state.value_mean)
    return Chunk(
        run=run,
        kc=torch.cat([k, state.key_mean.unsqueeze(-2)], dim=-2) - ck,
        vc=torch.cat([v, state.value_mean.unsqueeze(-2)], dim=-2) - cv,
        ck=ck,
        cv=cv,
        state=state,
    )


def _prior(chunk: Chunk, *, is_past_only: bool = False, is_last_only: bool = False) -> Prior:
    """The weights at every reading, or at the last one only.

    Weights are taken relative to the newest pair a reader sees, so they hold even where the mass underflows.
    """
    run, mass0 = chunk.run, chunk.state.mass.double().unsqueeze(-1)
    total = run.log_decay.double().cumsum(-1)
    time = run.num_readings
    sees = torch.ones(time, time, dtype=torch.bool, device=total.device).tril(-1 if is_past_only else 0)
    readers = total
    if is_last_only:
        sees, readers = sees[-1:], total[..., -1:]
    is_seen = sees & run.is_written.unsqueeze(-2)
    log_age = (readers.unsqueeze(-1) - total.unsqueeze(-2)).masked_fill(~is_seen, -torch.inf)
    log_age = torch.cat([log_age, readers.masked_fill(mass0 == 0, -torch.inf).unsqueeze(-1)], dim=-1)
    newest = log_age.amax(-1).detach()
    newest = torch.where(newest.isinf(), torch.zeros_like(newest), newest)
    weight = (log_age - newest.unsqueeze(-1)).exp() * torch.cat([run.omega.double(), mass0], dim=-1).unsqueeze(-2)
    mass = weight.sum(-1)
    # Where nothing weighs anything, the state's means stand as they are.
    state_alone = torch.zeros(time + 1, dtype=weight.dtype, device=weight.device)
    state_alone[-1] = 1.0
    is_any = (mass > 0).unsqueeze(-1)
    p = torch.where(is_any, weight / torch.where(is_any, mass.unsqueeze(-1), torch.ones_like(weight)), state_alone)
    return Prior(p=p.to(chunk.kc.dtype), mass=(mass * newest.exp()).to(chunk.kc.dtype))


def _moments(chunk: Chunk, prior: Prior) -> Moments:
    """The moments at every reader, by two passes over the chunk, [..., readers]."""
    state, d_k, p0 = chunk.state, chunk.state.d_k, prior.p[..., -1:]
    pairs = torch.cat([chunk.kc, chunk.vc], dim=-1)
    mean = prior.p @ pairs
    delta = pairs.unsqueeze(-3) - mean.unsqueeze(-2)
    weighted = prior.p.unsqueeze(-1) * delta[..., :d_k]
    if state.is_diagonal:
        key_cov = (weighted * delta[..., :d_k]).sum(-2) + p0 * state.key_cov.unsqueeze(-2)
        cross_cov = weighted.mT @ delta[..., d_k:] + p0.unsqueeze(-1) * state.cross_cov.unsqueeze(-3)
    else:
        state_cov = torch.cat([state.key_cov, state.cross_cov], dim=-1).unsqueeze(-3)
        cov = torch.addcmul(weighted.mT @ delta, p0.unsqueeze(-1), state_cov)
        key_cov, cross_cov = cov[..., :d_k], cov[..., d_k:]
    squares = prior.p.square()
    return Moments(
        mass=prior.mass,
        nu=squares[..., :-1].sum(-1) + squares[..., -1] * state.nu.unsqueeze(-1),
        key_mean=chunk.ck + mean[..., :d_k],
        value_mean=chunk.cv + mean[..., d_k:],
        key_cov=key_cov,
        cross_cov=cross_cov,
    )


def _read_affine(u: Tensor, chunk: Chunk, rho2: Tensor, *, is_past_only: bool) -> Tensor:
    """o_i = cv + mean of values + c_i / sqrt(1 + x_i / rho^2), without laying the moments out.

    Args:
        u: [..., time, d_k].
        chunk: the pairs.
        rho2: spreads over [..., time].
        is_past_only: a reading does not see its own pair.
    """
    p, state = _prior(chunk, is_past_only=is_past_only).p, chunk.state
    p0, s = p[..., -1:], u @ chunk.kc.mT
    delta = s - (p * s).sum(-1, keepdim=True)
    if state.is_diagonal:
        spread = p @ chunk.kc.square() - (p @ chunk.kc).square() + p0 * state.key_cov.unsqueeze(-2)
        x = (u.square() * spread.clamp(min=0.0)).sum(-1)
    else:
        x0 = ((u @ state.key_cov) * u).sum(-1, keepdim=True)
        x = ((p * delta.square()).sum(-1, keepdim=True) + p0 * x0).squeeze(-1)
    slope = torch.rsqrt(1.0 + x.clamp(0.0, MAX_LOGIT_VARIANCE) / rho2)
    c = (p * delta) @ chunk.vc + p0 * (u @ state.cross_cov)
    return chunk.cv + p @ chunk.vc + c * slope.unsqueeze(-1)
