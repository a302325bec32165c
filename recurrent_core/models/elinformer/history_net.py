"""Attention of a series over its own past, by any rule that streams: learned queries, keys and values of its readings.

    readings ── Inlet ── tokens ── Stack ── memory ─┐
    origins  ───────────────────────────────────────┴── SeriesNet ── shift of the mix

I know nothing of slots or of who keeps my state; `recalling` beside me does. At a question nothing is folded: the
memory is that of the last reading.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from recurrent_core.layers.stack import LayerChoice, Stack
from recurrent_core.models.elinformer.inlet import NUM_INPUTS, Inlet
from recurrent_core.models.elinformer.made import Shown
from recurrent_core.models.elinformer.series_net import SeriesNet

WIDTH, HEADS = 32, 4
CONVOLVED = "conv+"
"""Before a rule's name: a causal convolution over the last CONV_WIDTH readings goes before it."""
CONV_WIDTH = 4


class HistoryNet(nn.Module):
    """A stack of layers over the tokens of readings, and a SeriesNet that is told what it remembers."""

    def __init__(self, num_series: int, rules: Sequence[str]) -> None:
        """Weights at birth, when it says nothing.

        Args:
            num_series: series with an embedding of their own, 1 and up.
            rules: of attention by name, bottom layer first, each may begin with CONVOLVED.
        Raises:
            ConfigError: there is no such rule, or it cannot stream.
        """
        super().__init__()
        self.rules = tuple(rules)
        self.inlet = Inlet(sees_levels=False)
        self.token = nn.Linear(NUM_INPUTS, WIDTH)
        self.stack = Stack(WIDTH, HEADS, [_layer(rule) for rule in rules])
        self.teller = SeriesNet(num_series, sees_levels=False, num_heard=WIDTH)
        self.parts = {"history": (self.stack.num_floats,), "memory": (WIDTH,)}
        """Of a row: the stack's state, and what came of the last reading."""

    def standardise(self, shown: Shown) -> None:
        """Set what inputs are relative to from a sample of origins."""
        for inlet in (self.inlet, self.teller.inlet):
            inlet.standardise(shown)

    def tokens(self, shown: Shown) -> Tensor:
        """What the stack is shown of readings, [n, WIDTH]."""
        token: Tensor = self.token(self.inlet(shown))
        return token

    def forward(self, shown: Shown, memory: Tensor) -> Tensor:
        """What the mix should be shifted by, [n, NUM_LEADS], in the unit of the values.

        Args:
            shown: the origins; memory: [n, WIDTH], what the stack gave at each one's last reading.
        """
        shift: Tensor = self.teller(shown, memory)
        return shift


def _layer(rule: str) -> LayerChoice:
    name = rule.removeprefix(CONVOLVED)
    return LayerChoice(name, conv_width=CONV_WIDTH if name != rule else 0)
