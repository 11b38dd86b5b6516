"""``/api/v1/system/backups``: what there is to go back to, and one more."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import FileResponse

from relevo.http.api.times import iso
from relevo.http.needs import Administrator
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/system", tags=["system"])


class BackupOut(BaseModel):
    """One file; ``size`` in bytes."""

    name: str
    size: int
    created: str


class ProgressOut(BaseModel):
    """``done`` of ``total`` of a phase: copying, checking, compressing."""

    phase: str
    done: int
    total: int


class BackupsOut(BaseModel):
    """The newest first. ``error`` is why the last attempt failed, empty when it did not."""

    items: list[BackupOut]
    running: bool
    progress: ProgressOut | None
    directory: str
    every_h: int
    error: str


async def _standing(wired: Services) -> dict[str, Any]:
    job = wired.backups
    progress = job.progress
    return {
        "items": [{"name": one.name, "size": one.size, "created": iso(one.created)} for one in await job.files()],
        "running": job.running,
        "progress": (
            {"phase": progress.phase, "done": progress.done, "total": progress.total} if progress is not None else None
        ),
        "directory": str(job.folder),
        "every_h": wired.settings.backup.every_h,
        "error": job.error,
    }


@router.get("/backups", response_model=BackupsOut)
async def list_backups(wired: Wired, identity: Administrator) -> dict[str, Any]:
    """The files in the folder of backups, and how far the one is that is being made."""
    return await _standing(wired)


@router.post("/backups", status_code=202, response_model=BackupsOut)
async def make_backup(request: Request, wired: Wired, identity: Administrator) -> dict[str, Any]:
    """Begin one. 409 while another is being made."""
    wired.backups.begin()
    wired.audit(request, identity, "backup.make", "backups")
    return await _standing(wired)


@router.get("/backups/{name}", response_class=FileResponse)
async def download_backup(request: Request, name: str, wired: Wired, identity: Administrator) -> FileResponse:
    """The file itself, also in parts (``Range``). Private keys are in it."""
    file = wired.backups.file(name)
    wired.audit(request, identity, "backup.download", name)
    return FileResponse(file, media_type="application/zip", filename=name, headers={"Cache-Control": "no-store"})


@router.delete("/backups/{name}", status_code=204)
async def delete_backup(request: Request, name: str, wired: Wired, identity: Administrator) -> None:
    """Remove a file."""
    await wired.backups.remove(name)
    wired.audit(request, identity, "backup.delete", name)
