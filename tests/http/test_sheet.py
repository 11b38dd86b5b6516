"""The printed QR code says what it should: drawn from our SVG and read by somebody else's decoder."""

import re
import xml.etree.ElementTree as ET

import pytest
import segno

from relevo.http.sheet import SHEET_MOST, Printed, modules, one_label, sheet

NS = {"s": "http://www.w3.org/2000/svg"}
TEXT = "https://home.example/ui/claim?contract=native&serial=p%C3%BAmp&code=AAAAA-CCCCC-DDDDD"


def drawn(svg: str) -> list[list[list[int]]]:
    """Each QR code of ``svg`` as rows of grey values, quiet zone included, one value a module."""
    found = []
    for path in ET.fromstring(svg.encode()).iterfind(".//s:path[@class='qr']", NS):
        runs = [tuple(map(int, run)) for run in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path.attrib["d"])]
        size = max(x + n for x, _, n in runs) + 4
        grey = [[255] * size for _ in range(size)]
        for x, y, n in runs:
            grey[y][x : x + n] = [0] * n
        found.append(grey)
    return found


def decoded(grey: list[list[int]], scale: int = 4) -> str:
    zxingcpp = pytest.importorskip("zxingcpp")
    size = len(grey) * scale
    data = b"".join(bytes(cell for cell in row for _ in range(scale)) * scale for row in grey)
    (found,) = zxingcpp.read_barcodes(memoryview(data).cast("B", (size, size)))
    text: str = found.text
    return text


def printed(text: str) -> Printed:
    return Printed(text, "Pump <left> & \u0000right", "P" * 64, "AAAAA-CCCCC-DDDDD")


def test_the_drawing_is_the_matrix_of_the_text() -> None:
    (grey,) = drawn(one_label(printed(TEXT)))
    wanted = [[0 if cell else 255 for cell in row] for row in segno.make_qr(TEXT, error="m").matrix_iter(border=4)]
    assert grey == wanted
    assert modules(TEXT)[0][:7] == [True] * 7


@pytest.mark.parametrize("text", [TEXT, "x" * 700, '{"serial_number":"Ñandú","nombre":"lámpara \u6708"}'])
def test_another_decoder_reads_what_was_meant(text: str) -> None:
    (grey,) = drawn(one_label(printed(text)))
    assert decoded(grey) == text


def test_a_full_sheet_lies_on_a4_and_every_label_on_the_sheet() -> None:
    svg = sheet([printed(f"{TEXT}{n}") for n in range(SHEET_MOST)])
    root = ET.fromstring(svg.encode())
    assert (root.attrib["width"], root.attrib["height"]) == ("210mm", "297mm")
    places = [tuple(map(float, re.findall(r"[\d.]+", g.attrib["transform"]))) for g in root.iterfind("s:g", NS)]
    assert len(set(places)) == SHEET_MOST
    assert all(x + 63.5 <= 210 and y + 38.1 <= 297 for x, y in places)
    assert len(drawn(svg)) == SHEET_MOST
    assert "".join(root.itertext()).count("AAAAA-CCCCC-DDDDD") == SHEET_MOST


def test_texts_stay_inside_their_label() -> None:
    root = ET.fromstring(one_label(Printed("x", "W" * 128, "S" * 128, "AAAAA-CCCCC-DDDDD")).encode())
    for text in root.iterfind(".//s:text", NS):
        assert len(text.text or "") <= 18
        assert float(text.attrib["y"]) < 38.1
