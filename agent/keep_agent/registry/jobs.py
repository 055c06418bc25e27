"""Ledger writes as jobs that survive restarts: stored, signed, submitted, confirmed by a read.

After a time-out, a crash or a restart a job first reads whether its write is on the ledger by now. Only
if it is not, the same signed bytes are sent again. A new request is signed only if the ledger's rules or
its agreement refuse those bytes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import Any, Self, assert_never

from pydantic import BaseModel, ConfigDict

from keep_agent.core.machine import Put, Write
from keep_agent.core.message import Json, new_id
from keep_agent.errors import BadCommandError, KeepError, LocalError
from keep_agent.identity.keys import Keys
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit
from keep_ledger.errors import LedgerError, LedgerUnavailableError
from keep_ledger.interface import (
    Failed,
    Finished,
    NeedsSignatures,
    Prepared,
    Registry,
    Result,
    TaaAcceptance,
    Why,
)
from keep_ledger.plugins import Ledgers
from keep_ledger.writes import Write as LedgerWrite
from keep_ledger.writes import target, write_from_json, write_to_json

log = logging.getLogger(__name__)

JOB = "job"
AGREEMENT = "agreement"
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class State(StrEnum):
    """The state of a job."""

    STARTED = "started"
    MAKING_KEYS = "making-keys"
    SIGNED = "signed"
    NEEDS_AGREEMENT = "needs-agreement"
    NEEDS_SIGNATURES = "needs-signatures"
    FAILED = "failed"
    DONE = "done"


OPEN = frozenset({State.STARTED, State.MAKING_KEYS, State.SIGNED})

_NAMES = {
    "nym": ("did", "role", "alias"),
    "endpoint": ("did",),
    "rotate-key": ("did",),
    "schema": ("issuer_id", "name", "version"),
    "cred-def": ("issuer_id", "schema_id", "tag"),
}


class Job(BaseModel):
    """One write to a ledger.

    Attributes:
        kind: what is written, for people: `schema`, `cred-def`, ...
        write: the ledger's own form of it (`keep_ledger.writes`); None until its keys are made.
        submitter: the DID of ours that is its author.
        network: where it is written, whichever form the ids in `write` have; None: its DID says it.
        prepared: the exact request, once signed; sent again unchanged after a crash.
        signature: hex, by the submitter's key.
        args: what this kind needs for its follow-up.
        result: id of the object on the ledger.
        error: why it waits or failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: str
    submitter: str
    network: str | None = None
    args: dict[str, Any]
    write: dict[str, Any] | None = None
    state: State = State.STARTED
    prepared: dict[str, Any] | None = None
    signature: str | None = None
    result: str | None = None
    seq_no: int | None = None
    error: str | None = None
    created: float
    updated: float

    @classmethod
    def new(
        cls,
        kind: str,
        submitter: str,
        write: LedgerWrite | None = None,
        network: str | None = None,
        **args: Any,
    ) -> Self:
        """Return a new job."""
        now = time.time()
        body = write_to_json(write) if write else None
        return cls(
            id=new_id(),
            kind=kind,
            submitter=submitter,
            network=network,
            write=body,
            args=args,
            created=now,
            updated=now,
        )

    def but(self, **changes: object) -> Self:
        """Return a copy with these fields changed."""
        return self.model_copy(update={"updated": time.time(), **changes})

    def put(self, process: str) -> Put:
        """Return the write that stores it; an open one belongs to the process that works on it."""
        tags = {"by": process} if self.state in OPEN else {"kind": self.kind}
        return Put(JOB, self.id, self.model_dump(mode="json"), tags)

    @property
    def writes(self) -> Json:
        """What it writes, in the words of its caller: the DID, or name and version, or schema and tag."""
        given = {**(self.write or {}), **self.args}
        return {name: given[name] for name in _NAMES.get(self.kind, ()) if given.get(name)}

    def shown(self) -> Json:
        """Return it as JSON for our own side, without what is signed."""
        hidden = {"prepared", "signature", "write", "args"}
        return {**self.model_dump(mode="json", exclude=hidden), "writes": self.writes}

    def event(self) -> Json:
        """Return the log event for its state."""
        shown = {"id": self.id, "kind": self.kind, "state": self.state, "error": self.error}
        return {"type": JOB, "result": self.result, **{k: v for k, v in shown.items() if v}}


FollowUp = Callable[[Job], Awaitable[tuple[Job, tuple[Write, ...]]]]
"""Makes what a job of a kind needs (before), or what it stores at its end (after)."""


async def _nothing(job: Job) -> tuple[Job, tuple[Write, ...]]:
    return job, ()


class Jobs:
    """Runs the ledger writes of one tenant, also those left by a restart.

    Attributes:
        before: by kind, what has to be made before the request (keys of a credential definition).
        after: by kind, what is stored together with the success.
    """

    def __init__(self, profile: Profile, keys: Keys, ledgers: Ledgers) -> None:
        self._profile = profile
        self._keys = keys
        self._ledgers = ledgers
        self._tasks: asyncio.TaskGroup | None = None
        self._taken_over = asyncio.Event()
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self.before: dict[str, FollowUp] = {}
        self.after: dict[str, FollowUp] = {}

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return bool(self._at_work)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await self._open()
                while True:
                    await self._taken_over.wait()
                    self._taken_over.clear()
                    await self._open()
            finally:
                self._tasks = None  # a job that is begun now runs after the next start

    def take_up(self) -> None:
        """Continue the jobs of a process that has ended: they are ours now."""
        self._taken_over.set()

    def drop(self) -> None:
        """Work on nothing: another process has taken over what we had."""
        for task in self._at_work.values():
            task.cancel()
        self._at_work.clear()

    async def _open(self) -> None:
        for _, record in await self._profile.find(JOB, {"by": self._profile.process}):
            self._go(Job.model_validate(record))

    async def start(self, job: Job, *writes: Write) -> Job:
        """Commit a new job, with what belongs to it, and begin."""
        await self._save(job, *writes)
        self._go(job)
        return job

    async def resume(self, name: str) -> Job:
        """Resume a job that failed, or waits for an agreement or a signature.

        Raises:
            NotFoundError: no such job.
            LocalError: it is done, or still at work.
        """
        job = Job.model_validate(await self._profile.get(JOB, name))
        if job.state in OPEN or job.state == State.DONE:
            raise LocalError(f"this job is {job.state}; there is nothing to resume")
        return await self.start(
            job.but(state=State.STARTED, prepared=None, signature=None, error=None)
        )

    def _go(self, job: Job) -> None:
        if self._tasks is not None and job.id not in self._at_work:
            task = self._tasks.create_task(self._work(job), name=f"job {job.id}")
            self._at_work[job.id] = task
            task.add_done_callback(partial(self._rest, job.id))

    def _rest(self, name: str, task: asyncio.Task[None]) -> None:
        if self._at_work.get(name) is task:
            del self._at_work[name]

    async def _work(self, job: Job) -> None:
        pause = FIRST_PAUSE_S
        try:
            while job.state in OPEN:
                try:
                    job = await self._advance(job)
                except LedgerUnavailableError as error:
                    job = await self._save(
                        job.but(error=f"the ledger does not answer: {error}")
                    )
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
        except (LedgerError, KeepError) as error:
            await self._save(job.but(state=State.FAILED, error=str(error)))
        except Exception:  # the top of this task: one job fails, the others go on
            log.exception("job failed", extra={"id": job.id, "kind": job.kind})
            await self._save(job.but(state=State.FAILED, error="our side failed; see the log"))

    async def _advance(self, job: Job) -> Job:
        """Take the next step of a job and commit it."""
        if job.write is None:
            made, writes = await self.before[job.kind](job)
            return await self._save(made, *writes)
        write = write_from_json(job.write)
        found = await self._ledger(job, write).find(write)
        if isinstance(found, Finished):
            return await self._finish(job, found)
        if isinstance(found, Failed):
            return await self._save(job.but(state=State.FAILED, error=found.reason))
        if job.prepared is None:
            return await self._sign(job, write)
        signed = Prepared.from_json(job.prepared)
        signature = {job.submitter: bytes.fromhex(job.signature or "")}
        return await self._take(job, write, await self._ledgers.submit(signed, signature))

    def _ledger(self, job: Job, write: LedgerWrite) -> Registry:
        if job.network:
            return self._ledgers.network(job.network)
        return self._ledgers.of(target(write))[0]

    async def _sign(self, job: Job, write: LedgerWrite) -> Job:
        ledger = self._ledger(job, write)
        taa = await ledger.get_taa()
        accepted: TaaAcceptance | None = None
        if taa is not None:
            record = await self._profile.fetch(AGREEMENT, taa.digest)
            if record is None:
                words = "the network's author agreement must be accepted first"
                return await self._save(job.but(state=State.NEEDS_AGREEMENT, error=words))
            accepted = TaaAcceptance(taa.digest, record["mechanism"], record["day"])
        prepared = await ledger.prepare(write, job.submitter, taa=accepted)
        did = await self._profile.get("did", job.submitter)
        key = await self._keys.load(did["verkey"])
        if key is None:
            raise BadCommandError(f"there is no key of {job.submitter}")
        signature = key.sign(prepared.signing_input).hex()
        signed = job.but(state=State.SIGNED, prepared=prepared.to_json(), signature=signature)
        return await self._save(signed.but(error=None))

    async def _take(self, job: Job, write: LedgerWrite, result: Result) -> Job:
        match result:
            case Finished():
                confirmed = await self._ledger(job, write).confirm(write)
                if isinstance(confirmed, Failed):
                    return await self._save(job.but(state=State.FAILED, error=confirmed.reason))
                return await self._finish(job, confirmed)
            case Failed(why=Why.AGREEMENT, reason=reason):
                anew = job.but(state=State.NEEDS_AGREEMENT, prepared=None, signature=None)
                return await self._save(anew.but(error=reason))
            case Failed(reason=reason):
                return await self._save(job.but(state=State.FAILED, error=reason))
            case NeedsSignatures(reason=reason):
                return await self._save(job.but(state=State.NEEDS_SIGNATURES, error=reason))
            case _:
                assert_never(result)

    async def _finish(self, job: Job, finished: Finished) -> Job:
        done = job.but(state=State.DONE, result=finished.id, seq_no=finished.seq_no, error=None)
        done, writes = await self.after.get(job.kind, _nothing)(done)
        return await self._save(done, *writes)

    async def _save(self, job: Job, *writes: Write) -> Job:
        put = job.put(self._profile.process)
        await self._profile.commit(Commit(writes=(put, *writes), events=(job.event(),)))
        return job
