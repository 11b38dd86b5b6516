"""What a simulation with faults finds at a real server."""

from relevo.simulator import faults
from relevo.simulator.options import Options
from relevo.simulator.report import Report
from relevo.simulator.run import simulate
from tests.running import ADMIN_PASSWORD, RunningServer


async def faulty(server: RunningServer, fault: str, **changes: object) -> Report:
    """A short simulation with these faults, in words of the command line."""
    values: dict[str, object] = {
        "http": server.http, "mqtt_port": server.mqtt_port, "password": ADMIN_PASSWORD, "progress": False,
        "faults": faults.parse([fault]), "devices": 6, "rate": 60.0, "duration": 3.0,
    }  # fmt: skip
    return await simulate(Options(**(values | changes)))  # type: ignore[arg-type]


def healthy(report: Report) -> bool:
    """Everything acknowledged is there once, and the server says what is so."""
    found = (report.missing, report.duplicated, report.foreign, report.strays)
    assert found == (0, 0, 0, 0), report.examples
    assert (report.uncounted, report.let_in, report.untrue) == (0, 0, 0), report.examples
    assert report.problems == []
    assert report.readings_compared > 0
    return report.exit_code == 0
