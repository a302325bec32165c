"""The feed-forward half of a layer.

I know nothing of attention or of what the hidden vectors stand for.
"""

from torch import Tensor, nn


class Block(nn.Module):
    """x + mlp(norm x), twice as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., width]; the same comes out."""
        hidden: Tensor = x + self.mlp(self.norm(x))
        return hidden
