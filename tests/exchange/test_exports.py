"""Exports over HTTP: whole, exact, in constant memory, and nothing runs for nobody."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import RunningServer

pytestmark = pytest.mark.timeout(300)

BEGIN = 1_767_225_600_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("exports") / "data", env={"RELEVO_HISTORY__TAIL_EVENTS": "100"}) as one:
        yield one


def send(server: RunningServer, device: str, readings: list[tuple[int, dict[str, Any]]]) -> None:
    items = [{"device": device, "ts": BEGIN + ts, "values": values} for ts, values in readings]
    for at in range(0, len(items), 200):
        answer = server.api.post("/api/v1/telemetry", json=items[at : at + 200])
        assert (answer.status_code, answer.json()["refused"]) == (200, [])


def test_a_wide_file_has_a_row_for_each_time(server: RunningServer) -> None:
    server.register("wide")
    send(server, "wide", [(2, {"b": 2.5}), (1, {"a": 1, "b": "=1+1"}), (2, {"a": True})])
    answer = server.api.get("/api/v1/devices/wide/telemetry.csv")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == 'attachment; filename="wide-telemetry.csv"'
    assert answer.text == (
        'time,device,"a","b"\r\n2026-01-01T00:00:00.001Z,wide,1,"\'=1+1"\r\n2026-01-01T00:00:00.002Z,wide,true,2.5\r\n'
    )
    assert len(list(csv.reader(io.StringIO(answer.text)))) == 3


def test_a_long_file_has_a_row_for_each_value(server: RunningServer) -> None:
    server.register("long")
    send(server, "long", [(1, {"a": 1, "b": [1, None]})])
    query = {"devices": "long", "form": "long", "times": "ms", "bom": "true"}
    answer = server.api.get("/api/v1/exports", params=query)
    lines = answer.content.decode("utf-8-sig").splitlines()
    assert lines == ["time,device,key,value", f'{BEGIN + 1},long,"a",1', f'{BEGIN + 1},long,"b","json:[1,null]"']
    assert answer.content.startswith(b"\xef\xbb\xbf")


def test_json_lines_end_with_a_line_that_counts(server: RunningServer) -> None:
    server.register("lines")
    send(server, "lines", [(n, {"n": n}) for n in range(3)])
    answer = server.api.post("/api/v1/exports", json={"devices": ["lines"], "format": "jsonl", "from": BEGIN + 1})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines == [
        {"device": "lines", "ts": BEGIN + 1, "values": {"n": 1}},
        {"device": "lines", "ts": BEGIN + 2, "values": {"n": 2}},
        {"end": True, "readings": 2, "points": 2},
    ]


def test_parquet_has_a_type_for_each_key(server: RunningServer) -> None:
    import pyarrow.parquet as pq

    server.register("parquet")
    readings = [(n, {"i": n, "f": n / 8, "b": n % 2 == 0, "s": f"s{n}", "m": n if n % 2 else [n]}) for n in range(400)]
    send(server, "parquet", [*readings, (1_000, {"f": 7, "time": 3})])
    answer = server.api.get("/api/v1/devices/parquet/telemetry.parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    table = pq.read_table(io.BytesIO(answer.content))
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds == {
        "time": "timestamp[ms, tz=UTC]", "device": "dictionary<values=string, indices=int32, ordered=0>",
        "i": "int64", "f": "double", "b": "bool", "s": "string", "m": "string", "time_": "int64",
    }  # fmt: skip
    rows = table.to_pylist()
    assert len(rows) == 401
    assert (rows[3]["i"], rows[3]["f"], rows[3]["b"], rows[3]["m"], rows[2]["m"]) == (3, 0.375, False, "3", "[2]")
    assert (rows[-1]["f"], rows[-1]["time_"], rows[-1]["i"]) == (7.0, 3, None)
    assert table.schema.field("m").metadata[b"relevo.json"] == b"true"
    with pytest.raises(Exception, match=r"(?i)parquet|footer|magic"):
        pq.read_table(io.BytesIO(answer.content[:-9]))
