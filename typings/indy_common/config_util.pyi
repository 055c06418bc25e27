from typing import Any

# A module or object whose attributes are the settings.
def getConfig(
    general_config_dir: str | None = None, user_config_dir: str | None = None
) -> Any: ...
