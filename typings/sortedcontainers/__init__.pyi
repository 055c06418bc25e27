# What this project uses of sortedcontainers 1.5.7.

__version__: str
