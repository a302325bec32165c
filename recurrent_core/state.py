"""The named parts of a slot's memory: which floats of a row hold what.

I know nothing of what the parts mean or of how they change.
"""

import hashlib
import json
from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from recurrent_core.errors import ConfigError, ShapeError


class StateLayout:
    """Lays named parts one after the other in a row of float32; made once per model, never changed.

    A slab is [slots, num_floats]; a fresh slot is a row of zeros.

    Example:
        >>> layout = StateLayout("toy", 1, {"level": (), "ring": (3,)})
        >>> slab = layout.zeros(2)
        >>> layout.view(slab, "ring")[1] = 7.0
        >>> slab.tolist()
        [[0.0, 0.0, 0.0, 0.0], [0.0, 7.0, 7.0, 7.0]]
    """

    def __init__(self, name: str, version: int, parts: Mapping[str, tuple[int, ...]]) -> None:
        """Lay out the parts in the order given.

        Args:
            name: the model's name.
            version: raised by hand when a part keeps its shape but changes its meaning.
            parts: name -> shape; () is one float.
        """
        self.shapes = dict(parts)
        self._sizes = {part: prod(shape) for part, shape in self.shapes.items()}
        ends = [sum(list(self._sizes.values())[: i + 1]) for i in range(len(self._sizes))]
        self.slices = {
            part: slice(end - size, end) for (part, size), end in zip(self._sizes.items(), ends, strict=True)
        }
        self.num_floats = sum(self._sizes.values())
        drawn = json.dumps([name, version, [[part, list(shape)] for part, shape in self.shapes.items()]])
        self.layout_id = f"{name}.{version}-{hashlib.sha256(drawn.encode()).hexdigest()[:12]}"

    def zeros(self, num_slots: int, device: torch.device | str = "cpu") -> Tensor:
        """The rows of num_slots fresh slots, [num_slots, num_floats] float32."""
        return torch.zeros(num_slots, self.num_floats, dtype=torch.float32, device=device)

    def check(self, slab: Tensor) -> None:
        """Refuse what is no slab of this layout.

        Raises:
            ShapeError: if slab is not [slots, num_floats] float32.
        """
        if slab.ndim != 2 or slab.shape[1] != self.num_floats or slab.dtype != torch.float32:
            raise ShapeError(
                f"a slab of {self.layout_id} is [slots, {self.num_floats}] float32, got {list(slab.shape)} {slab.dtype}"
            )

    def view(self, slab: Tensor, part: str) -> Tensor:
        """One part of every row, [slots, *shape], sharing the slab's memory.

        Raises:
            ConfigError: if there is no such part.
        """
        if part not in self.slices:
            raise ConfigError(f"the state has no part {part!r}; it has {', '.join(self.slices)}")
        return slab[:, self.slices[part]].view(slab.shape[0], *self.shapes[part])

    def views(self, slab: Tensor) -> dict[str, Tensor]:
        """Every part of every row, each [slots, *shape], all sharing the slab's memory."""
        pieces = torch.split_with_sizes(slab, list(self._sizes.values()), dim=1)
        return {
            part: piece.view(slab.shape[0], *shape)
            for (part, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def gather(self, slab: Tensor, slots: Tensor) -> Tensor:
        """The rows of the given slots as a new slab, [batch, num_floats]; slots: [batch] int64."""
        return slab.index_select(0, slots)

    def scatter(self, slab: Tensor, slots: Tensor, rows: Tensor) -> None:
        """Put rows [batch, num_floats] in the place of slab's rows at slots, [batch] int64, all different."""
        slab.index_copy_(0, slots, rows)
