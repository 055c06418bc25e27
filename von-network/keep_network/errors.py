"""What can go wrong with a local network.

NetworkError           said to the user as one sentence; exit status 1
  BadInputError        the user asked for something that cannot be; exit status 2
  LaggingError         a node does not have what the others have, or says nothing
  NoWriteError         the nodes were started and take no writes
"""

from __future__ import annotations


class NetworkError(Exception):
    """Something is wrong with the network or the machine; the message is for the user."""


class BadInputError(NetworkError):
    """An argument makes no sense; nothing was changed."""


class LaggingError(NetworkError):
    """A node that runs has not caught up in time."""


class NoWriteError(NetworkError):
    """The nodes were started, and did not all take a write."""
