"""What can go wrong with a local network.

NetworkError           said to the user as one sentence; exit status 1
  BadInputError        the user asked for something that cannot be; exit status 2
"""

from __future__ import annotations


class NetworkError(Exception):
    """Something is wrong with the network or the machine; the message is for the user."""


class BadInputError(NetworkError):
    """An argument makes no sense; nothing was changed."""
