"""Proposals in files: a `.psit`, pictures of QR codes, or the texts of scanned codes."""

from __future__ import annotations

import html
import io
import time
from collections.abc import Sequence
from pathlib import Path

from keep_agent.errors import BadCommandError
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.cbor_container import MAX_BYTES
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.proposal.qr_frames import from_frames, to_frames
from keep_ledger.multisig.proposal.review import SKEW_S
from keep_ledger.private_files import write_shared
from keep_ledger.wording import counted

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""The image formats that are tried, whatever the file's name: none that starts another program."""
_MOST_PIXELS = 50_000_000


def load(paths: Sequence[Path]) -> Proposal:
    """Read one proposal from one file, or from several files with its frames.

    Args:
        paths: a `.psit`, pictures of QR codes, or texts of frames, one per line; `-` is standard
            input.

    Raises:
        BadCommandError: a file cannot be read.
        RefusedError: it is not a proposal, or has a forged mark.
    """
    frames: list[str] = []
    for path in paths:
        raw = _read(path)
        if path.suffix.lower() in _PICTURES:
            frames += _scanned(path, raw)
        elif raw.startswith(b"PSIT/"):
            frames += raw.decode("ascii", "replace").split()
        elif len(paths) > 1:
            raise BadCommandError(f"{path} has no frame of a proposal; give one file at a time")
        else:
            return _from_bytes(raw)
    return _from_bytes(from_frames(frames))


def _from_bytes(raw: bytes) -> Proposal:
    return Proposal.from_bytes(raw).without_future_commitments(int(time.time()) + SKEW_S)


def load_all(paths: Sequence[Path]) -> list[Proposal]:
    """Read several proposals; frames in several files make one.

    Raises:
        BadCommandError, RefusedError: as for `load`.
    """
    whole = [path for path in paths if not _is_frame(path)]
    parts = [path for path in paths if _is_frame(path)]
    return [load([path]) for path in whole] + ([load(parts)] if parts else [])


def save(proposal: Proposal, path: Path) -> None:
    """Write a proposal to a file, replacing it in one step."""
    try:
        write_shared(path, proposal.to_bytes())
    except OSError as error:
        raise BadCommandError(f"{path}: {error.strerror}") from error


def draw(proposal: Proposal, path: Path) -> int:
    """Write the QR codes of a proposal, and return how many there are.

    `.svg` and `.png` get a picture for each (`name-1.png` and so on), `.html` a page that shows one after
    the other.

    Raises:
        BadCommandError: the file has another suffix.
    """
    import segno  # noqa: PLC0415 - of the extra

    frames = to_frames(proposal.to_bytes())
    codes = [segno.make_qr(text, error="m", boost_error=False) for text in frames]
    kind = path.suffix.lower()
    if kind == ".html":
        pictures = [_svg(code) for code in codes]
        path.write_text(_page(pictures, proposal.id.hex()), "utf-8")
    elif kind in {".svg", ".png"}:
        for number, code in enumerate(codes, 1):
            each_path = path if len(codes) == 1 else path.with_stem(f"{path.stem}-{number}")
            code.save(str(each_path), scale=4)
    else:
        raise BadCommandError(f"{path}: a QR code is written as .svg, .png or .html")
    return len(codes)


def in_terminal(proposal: Proposal) -> str | None:
    """The QR code as text for a terminal; None if there are several."""
    import segno  # noqa: PLC0415 - of the extra

    frames = to_frames(proposal.to_bytes())
    if len(frames) != 1:
        return None
    out = io.StringIO()
    segno.make_qr(frames[0], error="l", boost_error=False).terminal(out, compact=True)
    return out.getvalue()


def _is_frame(path: Path) -> bool:
    if str(path) == "-":  # can be read once only
        return False
    return path.suffix.lower() in _PICTURES or _read(path).startswith(b"PSIT/")


def _read(path: Path) -> bytes:
    try:
        if str(path) == "-":
            import sys  # noqa: PLC0415

            return sys.stdin.buffer.read(MAX_BYTES * 2)
        if path.stat().st_size > 32 * MAX_BYTES:
            raise BadCommandError(f"{path} is too large for a proposal")
        return path.read_bytes()
    except OSError as error:
        raise BadCommandError(f"{path}: {error.strerror}") from error


def _scanned(path: Path, raw: bytes) -> list[str]:
    try:
        import zxingcpp  # noqa: PLC0415 - of the extra
        from PIL import Image  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BadCommandError(
            f"pictures are read with {error.name}: pip install 'indykeep[scan]'"
        ) from error
    try:
        with Image.open(io.BytesIO(raw), formats=_FORMATS) as picture:
            large = picture.width * picture.height > _MOST_PIXELS
            grey = None if large else picture.convert("L")
            kind = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
            found = [] if grey is None else zxingcpp.read_barcodes(grey, formats=kind)
    except Exception as error:  # a damaged picture makes a decoder raise almost anything
        raise BadCommandError(f"{path} is not a readable picture") from error
    if large:
        raise BadCommandError(f"{path} is too large")
    texts = [code.text for code in found if code.text.startswith("PSIT/")]
    if not texts:
        raise RefusedError(
            f"{path} has no readable QR code of a proposal; take a sharper picture from nearer"
        )
    return texts


def _svg(code: object) -> str:
    out = io.BytesIO()
    code.save(out, kind="svg", xmldecl=False, svgns=True, omitsize=True)  # type: ignore[attr-defined]
    return out.getvalue().decode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Proposal {name}</title>
<style>
body {{ font: 16px sans-serif; text-align: center; background: #fff; color: #000; margin: 1em }}
.frames {{ position: relative; width: min(90vw, 80vh); margin: auto; aspect-ratio: 1 }}
.frames svg {{ position: absolute; inset: 0; width: 100%; height: 100%; opacity: 0;
  animation: turn {total}s steps(1) infinite }}
@keyframes turn {{ 0% {{ opacity: 1 }} {share}% {{ opacity: 0 }} }}
.one svg {{ opacity: 1; animation: none }}
</style></head><body>
<h1>Proposal {short}</h1>
<div class="frames{one}">{pictures}</div>
<p>{count}. Scan until all have been read; the order does not matter.</p>
</body></html>
"""


def _page(pictures: list[str], name: str) -> str:
    seconds = 0.4
    turned = [
        picture.replace("<svg", f'<svg style="animation-delay:{number * seconds:.1f}s"', 1)
        for number, picture in enumerate(pictures)
    ]
    return _PAGE.format(
        name=html.escape(name),
        short=html.escape(name[:16]),
        total=f"{len(pictures) * seconds:.1f}",
        share=f"{100 / len(pictures):.3f}",
        one=" one" if len(pictures) == 1 else "",
        pictures="".join(turned),
        count=counted(len(pictures), "picture"),
    )
