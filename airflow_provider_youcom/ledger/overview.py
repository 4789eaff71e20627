"""What the ledger knows of one account, for someone who cannot ask You.com."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from airflow_provider_youcom.ledger.reading import StoredReading
from airflow_provider_youcom.ledger.reservation import Reservation


@dataclass(frozen=True)
class ReservedByDag:
    """
    How much one DAG has reserved, ended reservations included.

    :param deployment: the id of the Airflow deployment; empty for code outside of Airflow.
    :param dag_id: the DAG; empty for code outside of Airflow.
    :param week_usd: in the last 7 days, in dollars.
    :param month_usd: in the last 30 days, in dollars.
    """

    deployment: str
    dag_id: str
    week_usd: Decimal
    month_usd: Decimal


@dataclass(frozen=True)
class Overview:
    """
    What the ledger knows of one account. ``ledger.figures`` computes the rest.

    :param account_id: You.com's ``data.id``.
    :param now: the ledger's time, in UTC.
    :param readings: what the account held, the oldest reading first; the last one may be of any age.
    :param counting: the reservations that are subtracted from the last reading, the oldest first: those that
        stand, and those that have ended if the reading may lack what they have spent. Without a reading,
        those that count now.
    :param reserved_by_dag: which DAGs have reserved, those with the most in 7 days first.
    """

    account_id: str
    now: datetime
    readings: Sequence[StoredReading]
    counting: Sequence[Reservation]
    reserved_by_dag: Sequence[ReservedByDag]
