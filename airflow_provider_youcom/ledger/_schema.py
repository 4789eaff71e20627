"""
The ledger's tables.

Releasing a part of a reservation needs no new column: lower the amount of the standing row, and add an
ended row of the same attempt with that part, which goes on counting like every ended row.
"""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_youcom.ledger import rule

VERSION = 1

metadata = sa.MetaData()

ledgers = sa.Table(
    "youcom_ledger",
    metadata,
    sa.Column("schema_version", sa.Integer, primary_key=True, autoincrement=False),
    # Made with the tables: two databases, files or schemas that have the same name differ in it.
    sa.Column("ledger_id", sa.String(32), nullable=False),
)

accounts = sa.Table(
    "youcom_accounts",
    metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    # Every transaction that decides or ends writes this before it reads anything: that is the lock.
    sa.Column("version", sa.BigInteger, nullable=False),
    # How often reservations of this account have ended.
    sa.Column("counter", sa.BigInteger, nullable=False),
    # A note with a lower counter may lack rows that were purged.
    sa.Column("oldest_counter", sa.BigInteger, nullable=False),
    # What stopped counting before this may be deleted, since such a note is refused.
    sa.Column("purge_before", sa.BigInteger, nullable=False),
    # The total of all that has ever been reserved. A gate that joins the line notes it, so one subtraction
    # tells what has passed it since. A counter in each row of the line would change at each opening.
    sa.Column("opened_units", sa.BigInteger, nullable=False),
    # The most that has been available since the last opening, and when it rose or something opened.
    sa.Column("best_units", sa.BigInteger, nullable=False),
    sa.Column("moved_at", sa.BigInteger, nullable=False),
    # When something last opened.
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    # The number of the newest place in line.
    sa.Column("newest_place", sa.BigInteger, nullable=False),
)

line = sa.Table(
    "youcom_line",
    metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("holder_key", sa.String(64), primary_key=True),
    sa.Column("run_key", sa.String(64), nullable=False),
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Column("dag_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("task_id", sa.Text, nullable=False),
    sa.Column("map_index", sa.Integer, nullable=False),
    # From a counter, so that no clock decides about the order.
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("joined_at", sa.BigInteger, nullable=False),
    sa.Column("amount_units", sa.BigInteger, nullable=False),
    sa.Column("opened_before", sa.BigInteger, nullable=False),
    sa.Column("patience", sa.BigInteger, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    sa.Column("alive_until", sa.BigInteger, nullable=False),
)

holders = sa.Table(
    "youcom_holders",
    metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("holder_key", sa.String(64), primary_key=True),
    # The newest attempt that has asked for a decision.
    sa.Column("newest_order", sa.Text, nullable=False),
    sa.Column("newest_try", sa.Integer, nullable=False),
    sa.Column("newest_at", sa.BigInteger, nullable=False),
)

reservations = sa.Table(
    "youcom_reservations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Column("dag_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("task_id", sa.Text, nullable=False),
    sa.Column("map_index", sa.Integer, nullable=False),
    sa.Column("holder_key", sa.String(64), nullable=False),
    sa.Column("run_key", sa.String(64), nullable=False),
    sa.Column("attempt_id", sa.Text, nullable=False),
    sa.Column("attempt_order", sa.Text, nullable=False),
    sa.Column("try_number", sa.Integer, nullable=False),
    # JSON: the ids of the tasks behind the gate.
    sa.Column("task_ids", sa.Text, nullable=False),
    # Hundred-thousandths of a cent.
    sa.Column("amount_units", sa.BigInteger, sa.CheckConstraint("amount_units > 0"), nullable=False),
    # Microseconds; all times are microseconds since 1970 in UTC, by this database's clock.
    sa.Column("settle_us", sa.BigInteger, nullable=False),
    sa.Column("reserved_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    # When Airflow was last asked about the run, or 0.
    sa.Column("asked_at", sa.BigInteger, nullable=False),
    sa.Column("end_number", sa.BigInteger, nullable=False),
    sa.Column("counts_until", sa.BigInteger, nullable=False),
    # The newest place in line when it was made: its run passes all gates that joined later.
    sa.Column("newest_place", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("end_reason", sa.String(32)),
    sa.Column("ended_by", sa.Text),
    sa.CheckConstraint(f"(ended_at IS NULL) = (end_number = {rule.NOT_ENDED})"),
)

readings = sa.Table(
    "youcom_readings",
    metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    # Two processes that store at once give their readings the same number, and one of them is refused.
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    # Those of the note, under the names that ``rule.counts`` asks for.
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("counter", sa.BigInteger, nullable=False),
    sa.Column("stored_at", sa.BigInteger, nullable=False),
    # Exact decimals: a balance may have 300 digits, and SQLite would read a number as a double.
    sa.Column("balance_cents", sa.Text, nullable=False),
    sa.Column("fallen_usd", sa.Text, nullable=False),
    sa.Column("unreserved_usd", sa.Text, nullable=False),
    sa.Column("watched_us", sa.BigInteger, nullable=False),
)

STANDS = reservations.c.ended_at.is_(None)

# At most one standing row for each attempt; ended rows do not matter.
sa.Index(
    "youcom_reservations_attempt",
    reservations.c.account_id,
    reservations.c.attempt_id,
    unique=True,
    sqlite_where=STANDS,
    postgresql_where=STANDS,
)
sa.Index(
    "youcom_reservations_standing", reservations.c.holder_key, sqlite_where=STANDS, postgresql_where=STANDS
)
sa.Index(
    "youcom_reservations_expires_at",
    reservations.c.expires_at,
    sqlite_where=STANDS,
    postgresql_where=STANDS,
)
sa.Index(
    "youcom_reservations_asked_at",
    reservations.c.deployment,
    reservations.c.asked_at,
    sqlite_where=STANDS,
    postgresql_where=STANDS,
)
# A note reads all accounts. PostgreSQL cannot use the indexes of one account for that, and SQLite reads
# faster with them.
sa.Index("youcom_reservations_end_number_of_all", reservations.c.end_number)
sa.Index("youcom_reservations_counts_until_of_all", reservations.c.counts_until)
sa.Index("youcom_reservations_end_number", reservations.c.account_id, reservations.c.end_number)
sa.Index("youcom_reservations_counts_until", reservations.c.account_id, reservations.c.counts_until)
# For the history, of all and of one run.
sa.Index("youcom_reservations_reserved_at", reservations.c.reserved_at.desc(), reservations.c.id)
sa.Index("youcom_reservations_run_id", reservations.c.run_id, reservations.c.reserved_at)
sa.Index("youcom_holders_newest_at", holders.c.account_id, holders.c.newest_at)
sa.Index("youcom_line_number", line.c.account_id, line.c.number)
sa.Index("youcom_readings_time", readings.c.time)
