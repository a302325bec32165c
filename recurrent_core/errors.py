"""The exception tree of the recurrent core.

CoreError
├── ShapeError       tensors that do not fit each other
├── ConfigError      sizes or choices that can never work
└── ArtifactError    a saved model that cannot be used (missing, foreign, another layout, damaged)
"""


class CoreError(Exception):
    """Root of every fault of the core."""


class ShapeError(CoreError):
    """Tensors disagree on a size, dtype or device."""


class ConfigError(CoreError):
    """Sizes or choices that can never work."""


class ArtifactError(CoreError):
    """A saved model cannot be used."""
