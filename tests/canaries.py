"""Secrets that every test plants by using them: none may ever be found in what a server writes down or answers.

A :class:`tests.running.RunningServer` collects the secrets it handed out. When it stops, its log and its whole data
directory (database, write-ahead log, local files) are searched for them, byte by byte; every answer to its own client
is searched as it arrives. Only the files that exist to hold a secret, and the answers that hand one out, are exempt.
"""

from pathlib import Path

import httpx

# Files that are there to hold a secret, readable by their owner alone.
_KEEP_SECRETS = frozenset({"admin-password", "local.json", "secret.key", "authority.key"})
_LARGEST = 256 * 1024 * 1024
# Answers that give a secret out, once, to whoever asked for it.
_GIVE_SECRETS = ("/auth/", "/keys", "/key/rotate", "/credentials", "/labels", "/claim-codes", "/factory", "/label.svg")


class Leaked(AssertionError):
    """A secret was found where it must not be."""


class Canaries:
    """The secrets of one server."""

    def __init__(self) -> None:
        self.planted: set[str] = set()

    def plant(self, secret: str) -> str:
        if len(secret) >= 12:
            self.planted.add(secret)
        return secret

    def search(self, log: Path, data: Path) -> None:
        """Raises :class:`Leaked` naming file and surroundings."""
        files = [log, *data.rglob("*")] if data.is_dir() else [log]
        wanted = [secret.encode() for secret in self.planted]
        for file in files:
            if not file.is_file() or file.name in _KEEP_SECRETS or file.stat().st_size > _LARGEST:
                continue
            content = file.read_bytes()
            for secret in wanted:
                at = content.find(secret)
                if at >= 0:
                    raise Leaked(f"{file.name} holds a secret: …{content[max(0, at - 80) : at]!r} [here]")

    def look_at(self, answer: httpx.Response) -> None:
        """An event hook of httpx."""
        if answer.request.method == "POST" and answer.request.url.path.endswith("/devices"):
            return
        if any(part in answer.request.url.path for part in _GIVE_SECRETS) and answer.status_code < 300:
            return
        if "text/event-stream" in answer.headers.get("content-type", ""):
            return
        answer.read()
        text = answer.text + str(answer.headers)
        for secret in self.planted:
            if secret in text:
                raise Leaked(f"{answer.request.method} {answer.request.url.path} answers with a secret")
