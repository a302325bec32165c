"""Multi-head attention by any rule: learned queries, keys and values, decay times, gates and write strengths.

I know nothing of what the hidden vectors stand for.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurrent_core.errors import ConfigError
from recurrent_core.gates import log_decay
from recurrent_core.ops.mechanism import Mechanism, Recurrence, State
from recurrent_core.ops.registry import make_mechanism
from recurrent_core.ops.run import Pair, Run

SHORTEST_TAU, LONGEST_TAU = 8.0, 1024.0
"""Decay times of the heads at the start, in readings, on a grid of equal ratios."""
GATE_SOFTNESS = 16.0
"""Gates are logsigmoid / this, as in arXiv:2312.06635, sec. 4.4: close to 1 at the start."""


class AttentionLayer(nn.Module):
    """Queries, keys and values of each head from the hidden vector, one rule, and a way out.

    Every head has a learned decay time. Rules that gate get a gate for each channel, `gated_delta` a write strength,
    `rala` its gate on the output; rules whose output grows with what was written get a norm after it.
    """

    def __init__(self, d_model: int, num_heads: int, rule: str, choices: Mapping[str, Any] | None = None) -> None:
        """Args: d_model, of the hidden vector, a multiple of num_heads; rule, its name; choices, the rule's own."""
        super().__init__()
        if num_heads < 1 or d_model % num_heads:
            raise ConfigError(f"{d_model} hidden channels do not divide into {num_heads} heads; choose a multiple")
        size = d_model // num_heads
        self._choices = dict(choices or {})
        self.rule: Mechanism = make_mechanism(rule, size, size, **self._choices)
        self.num_heads, self.size = num_heads, size
        self.project = nn.Linear(d_model, 3 * d_model, bias=False)
        self.gate = nn.Linear(d_model, d_model) if self.rule.is_gated else None
        self.strength = nn.Linear(d_model, num_heads) if rule == "gated_delta" else None
        self.let_out = nn.Linear(d_model, d_model) if rule == "rala" else None
        self.norm = None if self.rule.is_normalised else nn.RMSNorm(size)
        self.out = nn.Linear(d_model, d_model, bias=False)
        taus = torch.linspace(math.log(SHORTEST_TAU), math.log(LONGEST_TAU), num_heads)
        self.log_tau = nn.Parameter(taus if num_heads > 1 else taus.new_full((1,), math.log(128.0)))

    def attend(self, x: Tensor, elapsed: Tensor, is_written: Tensor) -> Tensor:
        """A run read from its start.

        Args:
            x: [batch, time, d_model], finite.
            elapsed: [batch, time], since the reading before, in usual readings' time, >= 0.
            is_written: [batch, time] bool, whether there was a reading.
        Returns:
            [batch, time, d_model].
        """
        q, run = self._run(x, elapsed, is_written)
        return self._way_out(self.rule.attend(q, run).transpose(1, 2), x)

    def sequence(self, x: Tensor, elapsed: Tensor, is_written: Tensor, state: State) -> tuple[Tensor, State]:
        """A run with the state carried in and out; arguments as of `attend`."""
        q, run = self._run(x, elapsed, is_written)
        output, state = self._streaming().chunk(q, run, state)
        return self._way_out(output.transpose(1, 2), x), state

    def step(self, x: Tensor, elapsed: Tensor, is_written: Tensor, state: State) -> tuple[Tensor, State]:
        """One reading: x [batch, d_model], elapsed and is_written [batch]."""
        q, run = self._run(x.unsqueeze(1), elapsed.unsqueeze(1), is_written.unsqueeze(1))
        pair: Pair = run.at(0)
        output, state = self._streaming().step(q[..., 0, :], pair, state)
        return self._way_out(output, x), state

    def across(self, x: Tensor, is_there: Tensor | None = None) -> Tensor:
        """Attention across members without an order: x [batch, members, d_model], is_there [batch, members] bool."""
        q, k, v = self._heads(x)
        present = None if is_there is None else is_there.unsqueeze(1).expand(k.shape[:-1])
        return self._way_out(self.rule.across(q, k, v, present).transpose(1, 2), x)

    def weights(self, x: Tensor, elapsed: Tensor, is_written: Tensor) -> Tensor | None:
        """What each reading's output weighs each value with, [batch, heads, reader, written]; arguments as of `attend`.

        Read off by values that are the rows of a unit matrix; None for a rule that ties a value's size to a key's.
        """
        q, run = self._run(x, elapsed, is_written)
        time = x.shape[1]
        if self.rule.name == "diagonal":
            return None
        seen = make_mechanism(self.rule.name, self.size, time, **self._choices).to(x.device)
        seen.load_state_dict(self.rule.state_dict())
        marks = torch.eye(time, dtype=x.dtype, device=x.device).expand(*run.k.shape[:-1], time)
        return seen.attend(q, replace(run, v=marks))

    def parts(self) -> dict[str, tuple[int, ...]]:
        """The state's parts of one slot, heads first."""
        return {part: (self.num_heads, *shape) for part, shape in self._streaming().parts().items()}

    def _streaming(self) -> Recurrence:
        if not isinstance(self.rule, Recurrence):
            raise ConfigError(f"{self.rule.name} cannot stream: {self.rule.why_not_streaming}")
        return self.rule

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [batch, heads, time, size]."""
        split = self.project(x).reshape(*x.shape[:-1], 3, self.num_heads, self.size)
        q, k, v = split.unbind(-3)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def _run(self, x: Tensor, elapsed: Tensor, is_written: Tensor) -> tuple[Tensor, Run]:
        q, k, v = self._heads(x)
        decay = log_decay(elapsed.unsqueeze(1), self.log_tau.unsqueeze(-1))
        omega = torch.ones_like(decay) if self.strength is None else torch.sigmoid(self.strength(x)).transpose(1, 2)
        gate = None
        if self.gate is not None:
            split = self.gate(x).reshape(*x.shape[:-1], self.num_heads, self.size).transpose(1, 2)
            gate = functional.logsigmoid(split) / GATE_SOFTNESS
        written = is_written.unsqueeze(1).expand(decay.shape)
        return q, Run(k, v, decay, omega.to(decay.dtype), written, gate)

    def _way_out(self, heads: Tensor, x: Tensor) -> Tensor:
        """From [..., heads, size] to the hidden vector."""
        heads = heads if self.norm is None else self.norm(heads)
        joined = heads.reshape(x.shape)
        if self.let_out is not None:
            joined = joined * self.let_out(x)
        hidden: Tensor = self.out(joined)
        return hidden
