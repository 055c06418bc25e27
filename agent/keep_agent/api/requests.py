"""Bodies and query parameters of requests, read strictly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

from aiohttp import web
from pydantic import BaseModel, ValidationError

from keep_agent.core.message import Json, read_json
from keep_agent.core.model_errors import explained
from keep_agent.errors import BadCommandError, BadMessageError, LocalError
from keep_agent.store.profile import Profile

BODY_S = 10.0
LONGEST_WAIT_S = 120.0

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


async def read_body(request: web.Request) -> Json:
    """Return the JSON object of a request; no body is an empty object.

    Raises:
        LocalError: it is not a JSON object, breaks a rule of `read_json`, or does not come in time.
    """
    if not request.can_read_body:
        return {}
    if request.content_type != "application/json":
        error = LocalError("the body must be JSON, sent with Content-Type: application/json")
        error.status = 415
        raise error
    try:
        async with asyncio.timeout(BODY_S):
            raw = await request.read()
        body: object = read_json(raw) if raw else Json()
    except TimeoutError as error:
        raise BadCommandError("the body came too slowly") from error
    except BadMessageError as error:
        raise BadCommandError(f"the body cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise BadCommandError("the body must be a JSON object")
    return cast("Json", body)


async def read_as(request: web.Request, model: type[M]) -> M:
    """Return the body of a request as this model.

    Raises:
        LocalError: it does not fit; the text names the fields, not their values.
    """
    body = await read_body(request)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise BadCommandError(explained(error, model)) from None


class Query:
    """The query parameters of a request.

    Args:
        known: names that are allowed; others are refused, not ignored.

    Raises:
        BadCommandError: an unknown parameter, or one given twice.
    """

    def __init__(self, request: web.Request, *known: str) -> None:
        self._given = request.query
        for name in self._given:
            if name not in known:
                may = f"; there are: {', '.join(known)}" if known else ""
                raise BadCommandError(f"no query parameter {name!r}{may}")
        if len(set(self._given)) != len(self._given):
            raise BadCommandError("a query parameter is given twice")

    def text(self, name: str) -> str | None:
        """Return a parameter as it is."""
        return self._given.get(name)

    def words(self, name: str) -> frozenset[str]:
        """Return a list of words, separated by commas; empty where it is not given."""
        return frozenset(word for word in self._given.get(name, "").split(",") if word)

    def count(self, name: str, default: int, most: int) -> int:
        """Return a whole number from 0 to `most`."""
        return int(self._number(name, default, most, int))

    def seconds(self, name: str, default: float) -> float:
        """Return how long the caller is ready to wait."""
        return self._number(name, default, LONGEST_WAIT_S, float)

    def _number(
        self, name: str, default: float, most: float, read: Callable[[str], float]
    ) -> float:
        given = self._given.get(name)
        if given is None:
            return default
        try:
            number = read(given)
        except ValueError:
            number = -1
        if not 0 <= number <= most:
            raise BadCommandError(f"{name} must be a number from 0 to {most:g}")
        return number


class Waits:
    """All requests that wait for something; `end` ends their waiting, so that a shutdown is quick."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()
        self.ended = False

    async def until(self, happens: Callable[[], Awaitable[Any]], seconds: float) -> bool:
        """Wait until something happens; False: it did not happen in time.

        `happens` is cancelled then, so it must do nothing but wait.
        """
        if self.ended or seconds <= 0:
            return False
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                self._open.add(limit)
                await happens()
        except TimeoutError:
            return False
        finally:
            self._open.discard(limit)
        return True

    async def found(
        self, profile: Profile, look: Callable[[], Awaitable[T | None]], seconds: float
    ) -> T | None:
        """Look for something now and after each event of the log, until it is there."""
        until = time.monotonic() + seconds
        while True:
            seen = profile.last_event
            found = await look()
            if found is not None:
                return found
            left = until - time.monotonic()
            if not await self.until(partial(profile.wait_event, seen), left):
                return None

    async def end(self, _app: web.Application) -> None:
        """End all waiting."""
        self.ended = True
        now = asyncio.get_running_loop().time()
        for limit in self._open:
            limit.reschedule(now)


async def read_nothing(request: web.Request) -> None:
    """Refuse a body."""
    if await read_body(request):
        raise BadCommandError("this path takes no body")
