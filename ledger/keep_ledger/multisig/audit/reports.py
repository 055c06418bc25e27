"""An audit as sentences for people, and as JSON for programs."""

from __future__ import annotations

from typing import Any, cast

from keep_ledger.codes import LEDGER_NAMES, ROLE_NAMES, role_name
from keep_ledger.json_object import Json
from keep_ledger.multisig.audit.identity_audit import Entry, Report
from keep_ledger.multisig.audit.key_history import KeyState
from keep_ledger.multisig.audit.transaction_words import sanitize_text, utc_time
from keep_ledger.wording import counted


def sentences(report: Report) -> list[str]:
    """The whole report as lines of text."""
    lines = [f"The identity {report.did}: {counted(len(report.entries), 'transaction')}."]
    lines += [f"  {_state(state)}" for state in report.states] or ["  It is not on the ledger."]
    for one in report.entries:
        lines += ["", *_entry_lines(one, compared=report.compared)]
        lines += [
            f"  ALARM: {alarm.text}" for alarm in report.alarms if alarm.entry == one.name
        ]
    lines += ["", _verdict(report)]
    return lines


def _state(state: KeyState) -> str:
    since = f"domain {state.since.seq_no}, {utc_time(state.since.time)}"
    by = f", by {state.by}" if state.by else ""
    key = state.verkey or "none (it belonged to the DID that registered it)"
    return f"since {since}{by}: key {key}, role {ROLE_NAMES.get(state.role or '', 'none')}"


def _entry_lines(one: Entry, *, compared: bool) -> list[str]:
    who = one.author or "The genesis"
    lines = [f"{one.name}, {utc_time(one.moment.time)}: {who} {one.summary}"]
    lines.append(f"  this identity is: {', '.join(one.parts)}")
    if one.genesis:
        return [*lines, "  part of the genesis, which is not signed"]
    if endorser := one.request.get("endorser"):
        lines.append(f"  endorsed by {endorser}")
    if acceptance := one.request.get("taaAcceptance"):
        lines.append(f"  {_acceptance(acceptance)}")
    for signed in one.signatures:
        role = role_name(signed.role)
        lines.append(f"  signed by {signed.did} ({role} then): {signed.why}")
    if one.digest is not None and one.rebuilt:
        lines.append(f"  digest {one.digest.hex()}: equal to that of the rebuilt request")
    if compared and one.explained:
        lines.append(f"  approved as {sanitize_text(one.explained)}")
    return lines


def _acceptance(acceptance: Any) -> str:
    if not isinstance(acceptance, dict):
        return "accepted an author agreement"
    found = cast("Json", acceptance)
    day = found.get("time")
    when = utc_time(day)[:10] if isinstance(day, int) else "an unknown day"
    agreement, mechanism = found.get("taaDigest"), found.get("mechanism")
    return f"accepted the author agreement {sanitize_text(agreement)} by {sanitize_text(mechanism)} on {when}"


def _verdict(report: Report) -> str:
    found = [signed.good for one in report.entries for signed in one.signatures]
    good = found.count(True)
    checked = f"{counted(good, 'signature')} verif{'ies' if good == 1 else 'y'}"
    if None in found:
        checked += f", {found.count(None)} cannot be checked"
    if report.alarms:
        return f"{counted(len(report.alarms), 'alarm')}; {checked}."
    if report.compared:
        return f"Nothing wrong: {checked}; every write was approved exactly as it is on the ledger."
    return f"Nothing wrong: {checked}. Without proposals it is not known who approved what."


def to_json(report: Report) -> Json:
    """The report for programs; bytes as hex."""
    return {
        "did": report.did,
        "states": [_state_json(one) for one in report.states],
        "entries": [_entry_json(one) for one in report.entries],
        "alarms": [{"entry": a.entry, "kind": a.kind, "text": a.text} for a in report.alarms],
        "compared": report.compared,
    }


def _state_json(state: KeyState) -> Json:
    return {
        "verkey": state.verkey,
        "role": state.role,
        "since": state.since.seq_no,
        "time": state.since.time or None,
        "by": state.by,
    }


def _entry_json(one: Entry) -> Json:
    return {
        "ledger": LEDGER_NAMES[one.moment.ledger_id],
        "seq_no": one.moment.seq_no,
        "time": one.moment.time or None,
        "parts": list(one.parts),
        "summary": one.summary,
        "author": one.author,
        "request": one.request,
        "digest": one.digest.hex() if one.digest else None,
        "rebuilt": one.rebuilt,
        "explained": one.explained,
        "signatures": [
            {"did": s.did, "role": s.role, "good": s.good, "why": s.why} for s in one.signatures
        ],
    }
