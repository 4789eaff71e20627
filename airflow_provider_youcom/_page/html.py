"""The page as HTML. Names of DAGs and runs come from users, so the templates escape everything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from airflow_provider_youcom._page import text
from airflow_provider_youcom._page.forecast import forecast
from airflow_provider_youcom._page.guard import VisibleAccount
from airflow_provider_youcom.exceptions import PLATFORM_URL
from airflow_provider_youcom.money import format_usd

# As many rows as people read; a page with a thousand would be slow for all.
MOST_ROWS = 50
MOST_DAGS = 10
# A reading is stored after five minutes at the latest, as long as somebody checks.
STALE_AFTER = timedelta(minutes=15)
EXPIRES_SOON = timedelta(hours=1)

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(
    usd=format_usd,
    up=text.up,
    whole=text.whole,
    span=text.span,
    minute=text.minute,
    run_name=text.run_name,
    quoted=repr,
    forecast=forecast,
)
_environment.globals.update(
    share=text.share,
    dag_url=text.dag_url,
    run_url=text.run_url,
    platform_url=PLATFORM_URL,
    most_rows=MOST_ROWS,
    most_dags=MOST_DAGS,
    stale_after=STALE_AFTER,
    soon=EXPIRES_SOON,
    root="",
)


def render_credits(
    accounts: Sequence[tuple[VisibleAccount, datetime, datetime]],
    without_ledger: Sequence[str],
    problems: Sequence[str],
) -> str:
    """
    Return the page.

    :param accounts: what the user may see of each account, with the time of its ledger when it was read, and
        that time now.
    :param without_ledger: the connections that name no ledger.
    :param problems: why something is missing or old, each in one sentence.
    """
    read = [
        (now - available.balance.checked_at, available.balance.checked_at, now)
        for account, _, now in accounts
        if (available := account.figures.available)
    ]
    known = [(now - known_at, known_at, now) for _, known_at, now in accounts]
    return _environment.get_template("credits.html.j2").render(
        accounts=[(account, now) for account, _, now in accounts],
        oldest_reading=max(read, default=None),
        oldest_knowledge=max(known, default=None),
        without_ledger=without_ledger,
        problems=problems,
    )


def render_message(title: str, sentence: str, root: str = "") -> str:
    """
    Return a page with one sentence.

    :param title: its title.
    :param sentence: what happened, and what to do next.
    :param root: from the URL that was asked for to the page, such as ``../``.
    """
    template = _environment.get_template("message.html.j2")
    return template.render(title=title, sentence=sentence, root=root)
