"""Labels as SVG: one alone, or a sheet of A4 in the usual grid of 3 by 7 (63.5 by 38.1 mm each)."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

SHEET_MOST: Final = 21
_COLUMNS: Final = 3
_PAGE: Final = (210.0, 297.0)
_LABEL: Final = (63.5, 38.1)
_MARGIN: Final = (7.2, 15.15)
_PITCH: Final = (66.0, 38.1)
_QR: Final = 31.0
_QUIET: Final = 4
_LINE: Final = 18


class Printed(NamedTuple):
    """One label: the QR code's text and the lines beside it; ``code`` is as it is typed, empty for none."""

    qr: str
    name: str
    serial: str
    code: str


def modules(text: str) -> list[list[bool]]:
    """The QR code of ``text``, dark modules true, without the quiet zone; error correction M or better."""
    # 1.5 MB that only a server which prints labels needs.
    import segno

    return [[bool(cell) for cell in row] for row in segno.make_qr(text, error="m").matrix]


def one_label(label: Printed) -> str:
    """An SVG of one label."""
    return _svg(_LABEL, _drawn(label, 0, 0))


def sheet(labels: Sequence[Printed]) -> str:
    """An SVG of A4 with at most :data:`SHEET_MOST` labels."""
    assert len(labels) <= SHEET_MOST
    drawn: list[str] = []
    for n, label in enumerate(labels):
        row, column = divmod(n, _COLUMNS)
        drawn += _drawn(label, _MARGIN[0] + column * _PITCH[0], _MARGIN[1] + row * _PITCH[1])
    return _svg(_PAGE, drawn)


def _svg(size: tuple[float, float], drawn: Sequence[str] | Iterator[str]) -> str:
    width, height = size
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
        f'viewBox="0 0 {width:g} {height:g}"><rect width="{width:g}" height="{height:g}" fill="#fff"/>'
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n' + "\n".join(drawn) + "\n</svg>\n"


def _drawn(label: Printed, x: float, y: float) -> Iterator[str]:
    yield f'<g transform="translate({x:g} {y:g})">'
    matrix = modules(label.qr)
    scale = _QR / (len(matrix) + 2 * _QUIET)
    top = (_LABEL[1] - _QR) / 2
    yield f'<path class="qr" transform="translate(0 {top:g}) scale({scale:.6f})" d="{_path(matrix)}" fill="#000"/>'
    left = _QR + 0.5
    line = top + 4.5
    for part in _wrapped(label.name, _LINE, 2):
        yield _text(left, line, 3.0, part, ' font-weight="bold"')
        line += 3.8
    line += 1.2
    for part in _wrapped(label.serial, _LINE, 4):
        yield _text(left, line, 2.7, part, ' font-family="monospace"')
        line += 3.2
    if label.code:
        yield _text(left, _LABEL[1] - top - 3.0, 2.8, label.code, ' font-family="monospace" font-weight="bold"')
    yield "</g>"


def _path(matrix: list[list[bool]]) -> str:
    """Filled runs: strokes would leave hairlines between modules in some printers."""
    parts = []
    for y, row in enumerate(matrix):
        x = 0
        while x < len(row):
            end = x
            while end < len(row) and row[end]:
                end += 1
            if end > x:
                parts.append(f"M{x + _QUIET} {y + _QUIET}h{end - x}v1h-{end - x}z")
            x = end + 1
    return "".join(parts)


def _text(x: float, y: float, size: float, text: str, more: str) -> str:
    family = "" if "font-family" in more else ' font-family="sans-serif"'
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}"{family}{more}>{escape(text, quote=False)}</text>'


def _wrapped(text: str, width: int, lines: int) -> list[str]:
    """``text`` in at most ``lines`` of ``width`` characters, the rest as an ellipsis; never what XML cannot hold."""
    clean = "".join(letter for letter in text if letter.isprintable() and letter not in "\ufffe\uffff")
    parts = [clean[at : at + width] for at in range(0, len(clean), width)]
    if len(parts) > lines:
        parts = parts[:lines]
        parts[-1] = parts[-1][:-1] + "…"
    return [part.strip() for part in parts]
