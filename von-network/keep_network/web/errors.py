"""What the web server answers when it cannot do what was asked.

WebError               one sentence for whoever asked, and an HTTP status
  BadRequestError      400: the request makes no sense; nothing was changed
  TokenError           401: registering needs the token; nothing was changed
  ReadOnlyError        403: this server does not write
  ForeignError         403: another site's page may have sent it; nothing was changed
  NotFoundError        404
  ConflictError        409: the ledger has something else under this name
  TooLargeError        413
  RefusedError         422: the nodes refused it; their words are in the message
  UnavailableError     503: no connection to the nodes yet, or they do not answer
"""

from __future__ import annotations


class WebError(Exception):
    """A refusal; the message is the answer's text."""

    status = 500


class BadRequestError(WebError):
    """The request makes no sense; nothing was changed."""

    status = 400


class TokenError(WebError):
    """Registering needs the token that this server was told."""

    status = 401


class ReadOnlyError(WebError):
    """This server has no key to write with, or was told not to."""

    status = 403


class ForeignError(WebError):
    """Another site's page may have sent the request in a visitor's name; nothing was changed."""

    status = 403


class NotFoundError(WebError):
    """There is no such thing."""

    status = 404


class ConflictError(WebError):
    """The ledger has something else under this name; nothing was changed."""

    status = 409


class TooLargeError(WebError):
    """More bytes than anybody needs for this."""

    status = 413


class RefusedError(WebError):
    """The nodes refused a request."""

    status = 422


class UnavailableError(WebError):
    """The nodes do not answer; trying again later makes sense."""

    status = 503
