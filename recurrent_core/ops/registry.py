"""Which rules of attention there are, by name. The dict is written by hand.

I know nothing of what models do with them.
"""

from difflib import get_close_matches
from inspect import signature
from typing import Any

from recurrent_core.errors import ConfigError
from recurrent_core.ops.diagonal.mechanism import Diagonal
from recurrent_core.ops.entropy_equality.mechanism import EntropyEquality, Ridge
from recurrent_core.ops.gated_delta.mechanism import GatedDelta
from recurrent_core.ops.gated_linear.mechanism import GatedLinear
from recurrent_core.ops.kernel.mechanism import Elu, Relu
from recurrent_core.ops.lightning.mechanism import Lightning
from recurrent_core.ops.linformer.mechanism import Linformer
from recurrent_core.ops.longformer.mechanism import Longformer, SoftmaxWindow
from recurrent_core.ops.mechanism import Mechanism
from recurrent_core.ops.memory_slots.mechanism import MemorySlots
from recurrent_core.ops.performer.mechanism import Performer
from recurrent_core.ops.rala.mechanism import Rala
from recurrent_core.ops.softmax.mechanism import Softmax

MECHANISMS: dict[str, type[Mechanism]] = {
    "entropy_equality": EntropyEquality,
    "ridge": Ridge,
    "softmax": Softmax,
    "softmax_window": SoftmaxWindow,
    "longformer": Longformer,
    "elu": Elu,
    "relu": Relu,
    "performer": Performer,
    "linformer": Linformer,
    "memory_slots": MemorySlots,
    "rala": Rala,
    "lightning": Lightning,
    "gla": GatedLinear,
    "gated_delta": GatedDelta,
    "diagonal": Diagonal,
}


def mechanism_class(name: str) -> type[Mechanism]:
    """The rule of this name.

    Raises:
        ConfigError: naming the nearest known one, and all.
    """
    if name not in MECHANISMS:
        near = get_close_matches(name.lower().replace("-", "_"), MECHANISMS, 1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"unknown mechanism {name!r}{hint} Known are {', '.join(MECHANISMS)}")
    return MECHANISMS[name]


def make_mechanism(name: str, d_k: int, d_v: int, **choices: Any) -> Mechanism:
    """A rule for keys and values of these sizes.

    Args:
        choices: the rule's own, such as window or num_features.
    Raises:
        ConfigError: if there is no such rule, or it has no such choice, or sizes do not go together.
    """
    rule = mechanism_class(name)
    known = [choice for choice in signature(rule).parameters if choice not in ("d_k", "d_v")]
    unknown = sorted(set(choices) - set(known))
    if unknown:
        raise ConfigError(f"{name} knows no {', '.join(unknown)}; it has {', '.join(known) or 'no choices'}")
    return rule(d_k, d_v, **choices)
