"""What the ledger keeps of each account over time: its readings, and who has reserved."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger.overview import Overview
from airflow_provider_youcom.ledger.reservation import Note


class Accounts:
    """
    The accounts of a ledger.

    :param ready: returns the ledger's database, with its tables.
    """

    def __init__(self, ready: Callable[[], Database]) -> None:
        self._ready = ready

    def store(self, balance: AccountBalance, note: Note) -> None:
        """
        Store what a check has read, if it is news. A failure is logged, and raises nothing.

        :param balance: You.com's answer, from after the note.
        :param note: from before You.com was asked.
        """
        raise NotImplementedError

    def ids(self) -> list[str]:
        """Return the accounts that have a reading, by You.com's ``data.id``."""
        raise NotImplementedError

    def overview(self, account_id: str) -> Overview:
        """
        Return what the ledger knows of one account; of an unknown one, nothing.

        :param account_id: You.com's ``data.id``.
        """
        raise NotImplementedError
