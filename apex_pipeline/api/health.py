"""Answers whether the API lives, and whether what it needs is there."""

from fastapi import APIRouter

from apex_pipeline.api.problems import Problem
from apex_pipeline.api.services import Services

router = APIRouter(tags=["health"])


@router.get("/health")
async def health() -> dict[str, str]:
    """Answer that the process lives, also while every thread waits for a database."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"model": Problem}})
def ready(services: Services) -> dict[str, str]:
    """Answer whether database, queue and store can be used."""
    with services.database.reading() as session:
        session.connection()
    services.queue.check()
    services.store.check_access()
    return {"status": "ready", "database": services.database.place, "store": services.store.uri}
