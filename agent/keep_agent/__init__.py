"""The DIDComm agent."""

from typing import TYPE_CHECKING

__version__: str

if not TYPE_CHECKING:  # type checkers would accept any name

    def __getattr__(name: str) -> str:
        """Look `__version__` up only when it is read, as that takes 15 ms."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version  # noqa: PLC0415

        return version("indykeep")
