"""Who listens on a port of this machine, read from ``/proc``; elsewhere than on Linux nothing is known."""

import os
from pathlib import Path


def listening(port: int) -> set[str]:
    """Inodes of the sockets that listen on a port (Linux; elsewhere none)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    return inodes


def sockets_of(process: int) -> set[str] | None:
    """Inodes of a process's sockets; ``None`` when they may not be seen."""
    found = set()
    try:
        for entry in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208 - thousands of them
            try:
                target = os.readlink(f"/proc/{process}/fd/{entry}")  # noqa: PTH115
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        return None
    return found


def owner(inodes: set[str]) -> str:
    """Name and id of the process that has one of these sockets, as far as it can be seen."""
    for path in Path("/proc").glob("[0-9]*") if inodes else ():
        if inodes & (sockets_of(int(path.name)) or set()):
            try:
                command = (path / "cmdline").read_bytes()
                name = "another Relevo" if b"relevo" in command else (path / "comm").read_text("utf-8").strip()
            except OSError:
                break
            return f"{name} (process {path.name})"
    return "another program"
