from typing import NamedTuple

class HA(NamedTuple):
    host: str
    port: int
