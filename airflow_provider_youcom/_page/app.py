"""
The page's app, which Airflow's API server mounts at ``/youcom``.

No endpoint is a plain function: Airflow's own requests need the threads that those would take.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from airflow_provider_youcom._page.guard import (
    Sight,
    dag_ids_with_readable_runs,
    explain_to,
    readable_dag_ids,
    user_who_may_enter,
    what_may_be_seen,
)
from airflow_provider_youcom._page.headers import WithSecurityHeaders
from airflow_provider_youcom._page.html import Shown, render_credits, render_message
from airflow_provider_youcom._page.ledgers import Ledgers, conn_ids

_READ = ["GET", "HEAD"]
_ANY = [*_READ, "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
_STATIC = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES = {
    path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in _STATIC.iterdir() if path.suffix in _TYPES
}
_SENTENCES = {
    401: ("Signed out", "You are signed out: sign in to Airflow, and open this page again."),
    403: (
        "Not allowed",
        "This page is for users who may see Airflow's plugins: ask an administrator for that right.",
    ),
    404: ("Not found", "There is no such page here: open Credits in Airflow's navigation."),
    405: ("Not allowed", "This page can only be read."),
    500: ("Something failed", "The page could not be shown: the log of Airflow's API server says why."),
}

_ledgers = Ledgers()
_application = FastAPI(
    # Each route asks for the user itself. This protects a route that does not.
    dependencies=[Depends(user_who_may_enter)],
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    redirect_slashes=False,
)
app = WithSecurityHeaders(_application)


@_application.api_route("/", methods=_READ)
async def credits_page(user: Annotated[Any, Depends(user_who_may_enter)]) -> HTMLResponse:
    """Return the page, as this user may see it."""
    known, dag_ids = await asyncio.gather(_ledgers.read(conn_ids()), readable_dag_ids(user))
    accounts = [(snapshot, account) for snapshot in known.snapshots for account in snapshot.accounts]
    with_runs = {holder.dag_id for _, account in accounts for holder in account.holders}
    sight = Sight(known.deployment, dag_ids, await dag_ids_with_readable_runs(user, dag_ids & with_runs))
    shown = [
        Shown(what_may_be_seen(account, sight), snapshot.now, snapshot.is_current)
        for snapshot, account in accounts
    ]
    problems = await explain_to(user, known.problems)
    return HTMLResponse(render_credits(shown, known.without_ledger, problems))


@_application.api_route("/{name}", methods=_READ)
async def static_file(name: str) -> Response:
    """Return the style sheet, the script or an icon."""
    if name not in _FILES:
        raise HTTPException(404)
    content, media_type = _FILES[name]
    return Response(content, media_type=media_type)


@_application.api_route("/{path:path}", methods=_ANY)
async def anything_else(request: Request) -> None:
    """Answer requests that no other route takes: only users who may enter learn that there is no page."""
    if request.method in _READ:
        raise HTTPException(404)
    raise HTTPException(405, headers={"Allow": ", ".join(_READ)})


@_application.exception_handler(HTTPException)
async def explain(request: Request, error: HTTPException) -> HTMLResponse:
    """Return an error as a page with a sentence."""
    title, sentence = _SENTENCES.get(error.status_code, _SENTENCES[500])
    depth = request.url.path.removeprefix(request.scope.get("root_path", "")).count("/") - 1
    page = render_message(title, sentence, "../" * max(0, depth))
    # An auth manager's headers say where to sign in, for example.
    return HTMLResponse(page, error.status_code, error.headers)


@_application.exception_handler(Exception)
async def explain_failure(request: Request, error: Exception) -> HTMLResponse:
    """Return an error that nobody foresaw as a page with a sentence; the server logs the error."""
    return await explain(request, HTTPException(500))
