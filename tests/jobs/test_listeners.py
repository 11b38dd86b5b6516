import os
import socket
import subprocess
import sys

from relevo.jobs import listeners


def test_a_listening_socket_leads_to_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        inodes = listeners.listening(sock.getsockname()[1])
        assert len(inodes) == 1
        assert inodes <= (listeners.sockets_of(os.getpid()) or set())
        assert f"(process {os.getpid()})" in listeners.owner(inodes)


def test_nobody_is_nobody() -> None:
    assert listeners.owner(set()) == "another program"
    assert listeners.sockets_of(2**30) is None


def test_another_relevo_is_told_by_its_command_line() -> None:
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program, "relevo", "serve"], **pipes) as other:
        assert other.stdout is not None
        inodes = listeners.listening(int(other.stdout.readline()))
        assert listeners.owner(inodes) == f"another Relevo (process {other.pid})"
        other.communicate("\n")
