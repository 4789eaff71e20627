"""The page as HTML. Names of DAGs and runs come from users, so the templates escape everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from airflow_provider_youcom._page import text
from airflow_provider_youcom._page.forecast import forecast
from airflow_provider_youcom._page.guard import VisibleAccount
from airflow_provider_youcom._page.snapshot import Snapshot
from airflow_provider_youcom.exceptions import PLATFORM_URL
from airflow_provider_youcom.money import format_usd

# Nobody reads more rows, and a page with a thousand would be slow for all.
MOST_ROWS = 50
MOST_DAGS = 10
# As long as somebody checks, a reading is stored at least every five minutes.
STALE_AFTER = timedelta(minutes=15)
EXPIRES_SOON = timedelta(hours=1)
_NEVER = datetime.min.replace(tzinfo=UTC)

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
    words=text.words,
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
    soon=EXPIRES_SOON,
    root="",
)


@dataclass(frozen=True)
class Shown:
    """
    An account on the page.

    :param account: what the user may see of it.
    :param now: the ledger's time now, in UTC.
    :param is_current: whether the ledger still answers. Default: True.
    """

    account: VisibleAccount
    now: datetime
    is_current: bool = True

    @property
    def read_at(self) -> datetime:
        """When its balance was read, in UTC; the earliest of all times if it never was."""
        available = self.account.figures.available
        return available.balance.checked_at if available else _NEVER

    @property
    def is_stale(self) -> bool:
        """Whether the ledger says that no check has succeeded for a while."""
        return self.is_current and self.read_at is not _NEVER and self.now - self.read_at > STALE_AFTER

    @property
    def has_line(self) -> bool:
        """Whether gates are in line."""
        return bool(self.account.line) or self.account.others_in_line.count > 0


def render_credits(
    shown: Sequence[Shown], without_ledger: Sequence[str], problems: Mapping[str, Snapshot | None]
) -> str:
    """
    Return the page.

    :param shown: the accounts.
    :param without_ledger: the connections that name no ledger.
    :param problems: why something is missing or old, each in one sentence, with what is shown instead; None
        if nothing is.
    """
    return _environment.get_template("credits.html.j2").render(
        shown=shown,
        read_last=max(
            (each for each in shown if each.read_at is not _NEVER),
            key=lambda each: each.read_at,
            default=None,
        ),
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
