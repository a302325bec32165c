"""The effective configuration as YAML that can be loaded again, with no secret in it.

I know nothing of where it was read from. A secret that was written as `${file:/path}` is printed so; any
other is masked.
"""

import yaml

from stream_engine.config.tree import Config


def print_config(config: Config) -> str:
    """The whole tree as YAML, long forms, secrets redacted."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
