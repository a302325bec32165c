"""What every rule of attention offers: whole runs, and, where it has a recurrent form, a state and steps.

I know nothing of models or of where queries, keys and values come from. A rule's memory is a value: named tensors
that go into a step and come out anew; what it has learnt or drawn (projections) are its parameters and buffers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recurrent_core.checks import check_shape, check_state_dtype
from recurrent_core.errors import ConfigError
from recurrent_core.ops.run import Pair, Run, make_run

State = dict[str, Tensor]


class Mechanism(nn.Module, ABC):
    """A rule of attention of one head: each reading's query reads the pairs written up to it.

    Attributes:
        name: as in the registry.
        source: where the rule comes from.
        is_causal: no output depends on a later reading.
        is_normalised: an output is a mean of values; else it grows with what was written, and wants a norm after it.
        is_gated: it takes `Run.log_gate`, a decay of each channel of the key.
        why_not_streaming: why it has no state of constant size, and what to use instead; "" for those that have one.
        why_not_across: why it cannot read pairs that have no order, and what to use instead; "" for those that can.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    is_causal: ClassVar[bool] = True
    is_normalised: ClassVar[bool] = True
    is_gated: ClassVar[bool] = False
    why_not_streaming: ClassVar[str] = ""
    why_not_across: ClassVar[str] = ""

    def __init__(self, d_k: int, d_v: int) -> None:
        """Args: d_k, d_v, the sizes of a key and of a value."""
        super().__init__()
        if min(d_k, d_v) < 1:
            raise ConfigError(f"{self.name} of keys of size {d_k} and values of size {d_v}; wanted at least 1")
        self.d_k, self.d_v = d_k, d_v

    @abstractmethod
    def attend(self, q: Tensor, run: Run) -> Tensor:
        """Every reading's output over a whole run, nothing having come before.

        Args:
            q: [..., time, d_k], not scaled.
            run: the pairs, [..., time].
        Returns:
            [..., time, d_v] in q's dtype.
        """

    @abstractmethod
    def across(self, q: Tensor, k: Tensor, v: Tensor, is_there: Tensor | None = None) -> Tensor:
        """Attention across pairs that have no order, such as sensors at one instant: every query reads all of them.

        Args:
            q, k: [..., n, d_k], not scaled; v: [..., n, d_v].
            is_there: [..., n] bool; where False k and v may be NaN and nobody reads them.
        Returns:
            [..., n, d_v] in q's dtype.
        Raises:
            ConfigError: if the rule lives on the order.
        """

    @abstractmethod
    def reference(self, q: Tensor, run: Run) -> Tensor:
        """The same as printed in the source, in float64: slow, plain and quadratic or one by one."""

    def check(self, q: Tensor, run: Run) -> None:
        """Refuse queries and pairs that do not fit the rule or each other.

        Raises:
            ShapeError: if sizes disagree.
            ConfigError: if the run has gates and the rule takes none.
        """
        shape = run.log_decay.shape
        check_shape("q", q, *shape, self.d_k)
        check_shape("k", run.k, *shape, self.d_k)
        check_shape("v", run.v, *shape, self.d_v)
        if run.log_gate is not None and not self.is_gated:
            raise ConfigError(f"{self.name} takes no log_gate; leave it out, or use gla, which gates each channel")


class Recurrence(Mechanism):
    """A rule with a state of constant size.

    Promises:
        1. `step` reading by reading, `chunk` at any cut, and `reference` agree, in outputs and gradients.
        2. No output depends on a later reading; a batch gives what its slots give one by one.
        3. A fresh state is all zeros and reads 0; the state has the declared parts, whatever was written.
        4. Where `is_written` is False, k, v and omega may be NaN, and of the memory only its age changes.
        5. Arguments are left unchanged.
    """

    chunk_size: ClassVar[int] = 64
    """Readings taken at once, measured on a CPU."""

    @abstractmethod
    def parts(self) -> Mapping[str, tuple[int, ...]]:
        """The state's parts, name -> shape, of one head of one slot."""

    @abstractmethod
    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        """Let time pass and write one masked pair into every slot; q [..., d_k] for the rules that learn of queries."""

    @abstractmethod
    def read(self, q: Tensor, state: State) -> Tensor:
        """What queries [..., n, d_k] read of the state as it stands: [..., n, d_v]; changes nothing."""

    @abstractmethod
    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        """A masked run short enough to be taken at once: outputs and the state after it."""

    @property
    def num_floats(self) -> int:
        """Floats of one head's state."""
        return sum(prod(shape) for shape in self.parts().values())

    def init_state(
        self, batch_shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> State:
        """The state of fresh slots, all zeros: part -> [*batch_shape, *shape]; float32 or float64."""
        empty = {
            part: torch.zeros((*batch_shape, *shape), dtype=dtype, device=device)
            for part, shape in self.parts().items()
        }
        for part, tensor in empty.items():
            check_state_dtype(f"the state's {part}", tensor)
        return empty

    def step(self, q: Tensor, pair: Pair, state: State) -> tuple[Tensor, State]:
        """Advance by one reading for every slot: let time pass, write, then read.

        Args:
            q: [..., d_k], not scaled.
            pair: what the reading brings.
            state: left unchanged; its dtype is the one computed in.
        Returns:
            o: [..., d_v]; the new state.
        """
        dtype = next(iter(state.values())).dtype
        q = q.to(dtype)
        after = self.fold(q, _cast_pair(pair.masked(), dtype), state)
        return self.read(q.unsqueeze(-2), after).squeeze(-2), after

    def chunk(self, q: Tensor, run: Run, state: State, chunk_size: int | None = None) -> tuple[Tensor, State]:
        """A run at once, chunk by chunk, the state carried; when gradients are wanted each chunk is computed again
        on the way back, so that memory holds the run and one state a chunk, never a chunk's inner products.

        Args:
            q: [..., time, d_k], not scaled.
            run: the pairs, time >= 1.
            state: left unchanged; its dtype is the one computed in.
            chunk_size: readings taken at once.
        Returns:
            o: [..., time, d_v]; the state after the run.
        """
        self.check(q, run)
        size, time = chunk_size or self.chunk_size, run.num_readings
        dtype = next(iter(state.values())).dtype
        run, q = cast_run(run.masked(), dtype), q.to(dtype)
        outputs = []
        for queries, part in zip(torch.split(q, size, dim=-2), run.parts(size), strict=True):
            if torch.is_grad_enabled() and time > size:
                output, state = checkpoint(
                    self.block, queries, part, state, use_reentrant=False, preserve_rng_state=False
                )
            else:
                output, state = self.block(queries, part, state)
            outputs.append(output)
        return torch.cat(outputs, dim=-2), state

    def attend(self, q: Tensor, run: Run) -> Tensor:
        dtype = torch.promote_types(q.dtype, torch.float32)
        output, _ = self.chunk(q, run, self.init_state(tuple(run.log_decay.shape[:-1]), dtype, q.device))
        return output.to(q.dtype)

    def across(self, q: Tensor, k: Tensor, v: Tensor, is_there: Tensor | None = None) -> Tensor:
        if self.why_not_across:
            raise ConfigError(self.why_not_across)
        run = make_run(k, v, k.new_zeros(k.shape[:-1]), is_written=is_there)
        dtype = torch.promote_types(q.dtype, torch.float32)
        _, state = self.chunk(q, run, self.init_state(tuple(k.shape[:-2]), dtype, q.device))
        return self.read(q.to(dtype), state).to(q.dtype)


def cast_run(run: Run, dtype: torch.dtype) -> Run:
    """A run in the dtype that is computed in; ages stay as they are, for `log_ages` takes them in float64."""
    return replace(run, k=run.k.to(dtype), v=run.v.to(dtype), omega=run.omega.to(dtype))


def _cast_pair(pair: Pair, dtype: torch.dtype) -> Pair:
    gate = None if pair.log_gate is None else pair.log_gate.to(dtype)
    k, v, log_decay, omega = (field.to(dtype) for field in (pair.k, pair.v, pair.log_decay, pair.omega))
    return Pair(k, v, log_decay, omega, pair.is_written, gate)
