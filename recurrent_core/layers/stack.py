"""Layers one above the other, each with a rule of its own: hybrids such as linear attention and a softmax window.

I know nothing of what goes in or what is read off: hidden vectors both.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from recurrent_core.errors import ConfigError
from recurrent_core.layers.attention import AttentionLayer
from recurrent_core.layers.block import Block
from recurrent_core.layers.temporal_conv import TemporalConv
from recurrent_core.ops.mechanism import State


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """One layer of a stack.

    Attributes:
        rule: of attention, by name.
        conv_width: taps of a convolution before it; 0 for none. conv_dilation: readings from tap to tap.
        choices: the rule's own.
    """

    rule: str
    conv_width: int = 0
    conv_dilation: int = 1
    choices: Mapping[str, Any] = field(default_factory=dict)


class Layer(nn.Module):
    """x + conv(norm x), then x + attention(norm x), then a block."""

    def __init__(self, d_model: int, num_heads: int, choice: LayerChoice) -> None:
        super().__init__()
        self.conv_norm = nn.LayerNorm(d_model) if choice.conv_width else None
        self.conv = TemporalConv(d_model, choice.conv_width, choice.conv_dilation) if choice.conv_width else None
        self.attention_norm = nn.LayerNorm(d_model)
        self.attention = AttentionLayer(d_model, num_heads, choice.rule, choice.choices)
        self.block = Block(d_model)

    def parts(self) -> dict[str, tuple[int, ...]]:
        """The state's parts of one slot."""
        own = {} if self.conv is None else {f"conv.{part}": shape for part, shape in self.conv.parts().items()}
        return {**own, **{f"attention.{part}": shape for part, shape in self.attention.parts().items()}}

    def walk(self, x: Tensor, elapsed: Tensor, is_written: Tensor, state: State, form: str) -> tuple[Tensor, State]:
        """`sequence` or `step` through the parts."""
        after: State = {}
        if self.conv is not None and self.conv_norm is not None:
            convolve: Callable[..., tuple[Tensor, State]] = getattr(self.conv, form)
            filtered, conv_state = convolve(self.conv_norm(x), is_written, _below("conv", state))
            x, after = x + filtered, {f"conv.{part}": tensor for part, tensor in conv_state.items()}
        attend: Callable[..., tuple[Tensor, State]] = getattr(self.attention, form)
        attended, own = attend(self.attention_norm(x), elapsed, is_written, _below("attention", state))
        return self.block(x + attended), {**after, **{f"attention.{part}": own[part] for part in own}}


class Stack(nn.Module):
    """Layers one above the other, and their states side by side."""

    def __init__(self, d_model: int, num_heads: int, layers: Sequence[LayerChoice]) -> None:
        """Args: layers, bottom first, at least one."""
        super().__init__()
        if not layers:
            raise ConfigError("a stack of no layers; wanted at least one")
        self.layers = nn.ModuleList(Layer(d_model, num_heads, choice) for choice in layers)
        self.norm = nn.LayerNorm(d_model)

    def parts(self) -> dict[str, tuple[int, ...]]:
        """The state's parts of one slot, `0.attention.mass` and so on.

        Raises:
            ConfigError: if a layer's rule cannot stream, saying why and what to use.
        """
        return {f"{n}.{part}": shape for n, layer in self._numbered() for part, shape in layer.parts().items()}

    @property
    def num_floats(self) -> int:
        """Floats of one slot's state."""
        return sum(prod(shape) for shape in self.parts().values())

    def init_state(self, num_slots: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> State:
        """Zeros for fresh slots, part -> [num_slots, ...]."""
        shapes = self.parts().items()
        return {part: torch.zeros(num_slots, *shape, dtype=dtype, device=device) for part, shape in shapes}

    def pack(self, state: State) -> Tensor:
        """A state as rows of floats, [slots, num_floats]."""
        return torch.cat([state[part].flatten(1) for part in self.parts()], dim=1)

    def unpack(self, rows: Tensor) -> State:
        """The state that `pack` made rows of, sharing their memory."""
        shapes = self.parts()
        pieces = torch.split(rows, [prod(shape) for shape in shapes.values()], dim=1)
        return {part: piece.reshape(-1, *shapes[part]) for part, piece in zip(shapes, pieces, strict=True)}

    def sequence(self, x: Tensor, elapsed: Tensor, is_written: Tensor, state: State) -> tuple[Tensor, State]:
        """Runs at once.

        Args:
            x: [slots, time, d_model], finite also where nothing was written.
            elapsed: [slots, time], since the reading before, in usual readings' time.
            is_written: [slots, time] bool.
            state: left unchanged.
        Returns:
            [slots, time, d_model]; the state after the run.
        """
        return self._walk(x, elapsed, is_written, state, "sequence")

    def step(self, x: Tensor, elapsed: Tensor, is_written: Tensor, state: State) -> tuple[Tensor, State]:
        """One reading for every slot: x [slots, d_model], elapsed and is_written [slots]."""
        return self._walk(x, elapsed, is_written, state, "step")

    def _walk(self, x: Tensor, elapsed: Tensor, is_written: Tensor, state: State, form: str) -> tuple[Tensor, State]:
        after: State = {}
        for n, layer in self._numbered():
            x, own = layer.walk(x, elapsed, is_written, _below(str(n), state), form)
            after |= {f"{n}.{part}": tensor for part, tensor in own.items()}
        hidden: Tensor = self.norm(x)
        return hidden, after

    def _numbered(self) -> Iterator[tuple[int, Layer]]:
        for n, layer in enumerate(self.layers):
            if isinstance(layer, Layer):
                yield n, layer


def _below(name: str, state: State) -> State:
    """The parts of a state whose names begin with this one, without it."""
    return {part.removeprefix(f"{name}."): tensor for part, tensor in state.items() if part.startswith(f"{name}.")}
