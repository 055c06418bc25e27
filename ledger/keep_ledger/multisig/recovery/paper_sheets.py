"""A guardian's share as a page to print: a self-contained HTML page with a QR code."""

from __future__ import annotations

import io
from html import escape

import segno

from keep_ledger.multisig.recovery.slip39 import Backup, PaperShare

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer"><title>Recovery share {number}</title>
<style>
@page {{ size: A4; margin: 18mm }}
body {{ font: 12pt/1.4 sans-serif; color: #000; background: #fff; max-width: 174mm; margin: auto }}
ol {{ columns: 3; font: 13pt/1.7 monospace; padding-left: 2.5em }}
svg {{ width: 52mm; height: 52mm }}
footer {{ font: 9pt monospace; word-break: break-all }}
</style></head><body>
<h1>Recovery share {number} of {count}</h1>
<p>For <strong>{guardian}</strong>. Made {made}. It takes {plan} to restore the key.{passphrase}</p>
<ol>
{words}
</ol>
{qr}
<p>Keep this page where only you can reach it, and away from the other shares. When the key is lost, give it
only to a person whom you know, face to face. A drill does not need this page to be shown to anybody: type the
words into your own computer, which answers for you. When you get a newer share, destroy this one.</p>
<footer>Public key of this share: {key}<br>Backup: {backup}</footer>
</body></html>
"""


def sheet(backup: Backup, share: PaperShare) -> str:
    """The page for one guardian. It shows the secret: print it, but do not store or send it.

    Args:
        share: of this backup, else KeyError.
    """
    return _PAGE.format(
        number=share.identifier,
        count=len(backup.keys),
        guardian=escape(backup.guardian(share.identifier)),
        made=f"{backup.made:%Y-%m-%d}",
        plan=escape(backup.plan.sentence()),
        passphrase=" The passphrase is needed, too." if backup.passphrase else "",
        words="\n".join(f"<li>{escape(word)}</li>" for word in share.words.split()),
        qr=qr_svg(share.words),
        key=backup.keys_by_identifier[share.identifier].hex(),
        backup=backup.digest.hex(),
    )


def qr_svg(text: str) -> str:
    """A QR code as an inline SVG element, error correction M, with its quiet zone."""
    out = io.BytesIO()
    segno.make_qr(text, error="m", boost_error=False).save(
        out, kind="svg", xmldecl=False, svgns=True, omitsize=True
    )
    return out.getvalue().decode()
