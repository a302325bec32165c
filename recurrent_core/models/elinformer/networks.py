"""The networks of a model, together: what is trained as one and kept in one artifact.

I know nothing of how they are trained or served.
"""

from torch import nn

from recurrent_core.models.elinformer.history_net import HistoryNet
from recurrent_core.models.elinformer.mix_net import MixNet
from recurrent_core.models.elinformer.series_net import SeriesNets


class Networks(nn.Module):
    """What stands on top of a mix: a MixNet; where series are known, the SeriesNets; and, beside them, a HistoryNet."""

    def __init__(
        self, mix_net: MixNet, series_nets: SeriesNets | None = None, history_net: HistoryNet | None = None
    ) -> None:
        super().__init__()
        self.mix_net, self.series_nets, self.history_net = mix_net, series_nets, history_net
