"""What each part of the elinformer is worth: without its group, without its past, its mix alone, the mix without parts.

A read-out whose expected error is out of reach never gets any weight, whatever its real errors are: the prior counts
for two of at most a hundred readings. The keys of the moments still read the calendar. I know nothing of data or
scores.
"""

from dataclasses import replace

from recurrent_core.models.elinformer.layout import READOUTS
from recurrent_core.models.elinformer.model import PRIOR, Elinformer
from recurrent_core.models.interface import StreamingModel
from stream_engine.errors import ConfigError

OUT_OF_REACH = 1e9
"""Scales."""
RIDGE, AFFINE = "ridge", "affine"
SHORT = ("persistence", "smoothing, fast", "smoothing, slow")
"""Read-outs that remember a window's worth of readings."""
CALENDAR = tuple(name for name in READOUTS if name not in (RIDGE, AFFINE, *SHORT))
VARIANTS: dict[str, tuple[str, ...]] = {
    "mix alone": (),
    "without moments": (RIDGE, AFFINE),
    "affine, no ridge": (RIDGE,),
    "ridge, no affine": (AFFINE,),
    "without calendar memory": CALENDAR,
    "window only": (RIDGE, AFFINE, *CALENDAR),
}
"""Name -> read-outs left out; no network stands on any of these mixes."""
FORGETFUL = "own past not attended to"
"""The whole model without its attention over each series' own past, where it has one."""
DEAF = "group not heard"
"""The whole model, its series deaf to each other: of a model whose series attend to each other."""


def variants(model: StreamingModel) -> dict[str, Elinformer]:
    """The model's mix alone, and without each part, by name.

    Raises:
        ConfigError: the model has no such parts.
    """
    if not isinstance(model, Elinformer):
        raise ConfigError(f"--ablate: model {model.name!r} has no parts that can be left out; the elinformer has")
    made = {DEAF: model.without_group()} if model.hears_group else {}
    if model.history_net is not None:
        made[FORGETFUL] = model.without_history()
    for name, left_out in VARIANTS.items():
        prior = model.tensors[PRIOR].clone()
        prior[[READOUTS.index(readout) for readout in left_out]] = OUT_OF_REACH
        made[name] = Elinformer(replace(model.config, attention=()), {PRIOR: prior}, name, model.version)
    return made
