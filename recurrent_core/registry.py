"""Which model classes there are, by the name an artifact's config.json gives.

I know nothing of files. The dict is written by hand: a model not named here cannot be loaded.
"""

from recurrent_core.models.elinformer.model import Elinformer

MODELS: dict[str, type[Elinformer]] = {"elinformer": Elinformer}
