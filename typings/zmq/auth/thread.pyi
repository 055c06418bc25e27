from collections.abc import Callable

_inherit_docstrings: Callable[[type], type]  # dropped in pyzmq 23; our compat puts it back
