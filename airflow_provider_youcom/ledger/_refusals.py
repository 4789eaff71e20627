"""Why the ledger does not let an attempt reserve, in sentences that say what to do."""

from __future__ import annotations

from airflow_provider_youcom.exceptions import (
    YouComLedgerRefusedError,
    YouComLedgerUnavailableError,
    YouComRefusedError,
)
from airflow_provider_youcom.ledger.claim import Claim


def overtaken(claim: Claim) -> YouComRefusedError:
    return YouComRefusedError(
        f"A newer attempt of task {claim.attempt.holder.task_id!r} has asked for credits, so this one "
        "reserves nothing: let it end."
    )


def outdated() -> YouComLedgerUnavailableError:
    return YouComLedgerUnavailableError(
        "What is reserved is unknown, since old entries of the ledger were deleted during this check; the "
        "next one will tell."
    )


def another_ledger(name: str, found_id: str, expected_id: str) -> YouComLedgerRefusedError:
    return YouComLedgerRefusedError(
        f"The ledger {name!r} is not the one with which this gate started (its id is {found_id[:8]}…, not "
        f"{expected_id[:8]}…), and neither sees what the other has reserved: let the connection lead to the "
        "same file, database and schema on all workers and triggerers."
    )
