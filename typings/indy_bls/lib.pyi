from collections.abc import Callable
from logging import Logger

LOGGER: Logger
_set_logger: Callable[[], None]
