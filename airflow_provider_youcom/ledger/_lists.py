"""List the reservations of a ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_provider_youcom.ledger import _statements as statements
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger._rows import to_reservation
from airflow_provider_youcom.ledger._schema import STANDS, reservations
from airflow_provider_youcom.ledger.reservation import Reservation


class ReservationLists:
    """The lists of a ledger, which reads them from its database."""

    def _ready(self) -> Database:
        raise NotImplementedError

    def get(self, ids: Iterable[str]) -> list[Reservation]:
        """Return the reservations with these ids, standing or ended; unknown ids are left out."""
        wanted = {"ids": list(ids)}
        rows = self._ready().read(lambda connection: connection.execute(statements.BY_IDS, wanted).all())
        return [to_reservation(row) for row in rows]

    def standing(self, **names: str | int) -> list[Reservation]:
        """
        Return the standing reservations, the oldest first.

        :param names: filters: any of ``account_id``, ``deployment``, ``dag_id``, ``run_id``, ``task_id``,
            ``map_index`` and ``attempt_id``. Default: none, which returns all.
        """
        return self._select(statements.ROWS.where(STANDS).order_by(*statements.OLDEST_FIRST), names)

    def counting(self, **names: str | int) -> list[Reservation]:
        """
        Return what counts against the balance now, the oldest first: what stands, and what ended lately.

        An ended reservation counts until its ``counts_until``, since You.com may post charges late.

        :param names: filters, as for ``standing``.
        """
        counting = statements.ROWS.where(statements.COUNTS_NOW)
        return self._select(counting.order_by(*statements.OLDEST_FIRST), names)

    def history(self, limit: int = 100, **names: str | int) -> list[Reservation]:
        """
        Return standing and ended reservations, the newest first.

        :param limit: the most reservations to return. Default: 100.
        :param names: filters, as for ``standing``.
        """
        query = statements.ROWS.order_by(reservations.c.reserved_at.desc(), reservations.c.id).limit(limit)
        return self._select(query, names)

    def _select(self, query: Any, names: dict[str, str | int]) -> list[Reservation]:
        for name, value in names.items():
            query = query.where(reservations.c[name] == value)
        rows = self._ready().read(lambda connection: connection.execute(query).all())
        return [to_reservation(row) for row in rows]
