"""
The id of this Airflow deployment, which is made once and never replaced.

It is an Airflow Variable. A task of Airflow 3 cannot save a Variable only if there is none: it replaces what
another task has saved. So tasks that find no id first save a candidate, as another Variable, and wait until
it has been the same for half a minute. What a task saves late then replaces a candidate, and not the id.

While they wait, they look for the id again and again. If Airflow returns the candidate and no id, it has
answered, and there is no id.
"""

from __future__ import annotations

import logging
import random
import time
import uuid

from airflow_provider_youcom._variables import (
    VariableDeniedError,
    VariableUnavailableError,
    delete_variable,
    insert_variable,
    is_listed,
    read_variable,
    read_variable_on_the_server,
    save_variable,
    tasks_have_the_database,
)
from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError, YouComRefusedError

log = logging.getLogger(__name__)

DEPLOYMENT_VARIABLE = "youcom_deployment_id"
CANDIDATE_VARIABLE = "youcom_deployment_id_candidate"
# How long the candidate must be the same, in seconds.
UNCHANGED_FOR = 30.0
LOOK_EVERY = 3.0
GIVE_UP_AFTER = 300.0
# One look that fails unnoticed must not put another candidate in place of the one that all others see.
_LOOKS_FOR_A_CANDIDATE = 2
_ID_DESCRIPTION = "Names this Airflow in the ledgers of the You.com provider. Do not change or copy it."
_UNREADABLE = "it is in Airflow's database, and Airflow does not say what it holds"
_CANDIDATE_DESCRIPTION = f"Becomes {DEPLOYMENT_VARIABLE}, and is then deleted."


def deployment_id() -> str:
    """
    Return the id of this Airflow deployment. The first call makes it, in half a minute on Airflow 3.

    :raises YouComLedgerUnavailableError: if Airflow does not say what the id is, or whether there is one.
    :raises YouComRefusedError: if this task may not read or save it, or it is empty.
    """
    try:
        found = read_variable(DEPLOYMENT_VARIABLE)
        if found is None:
            found = _make()
    except VariableUnavailableError as error:
        raise YouComLedgerUnavailableError(
            f"The Airflow Variable {DEPLOYMENT_VARIABLE} is unknown, so nothing is reserved ({error}): check "
            "Airflow's API server, its database and its secrets backends."
        ) from None
    except VariableDeniedError as error:
        raise YouComRefusedError(
            f"The Airflow Variable {DEPLOYMENT_VARIABLE} cannot be read and saved ({error}): set it by hand, "
            "to a text that no other Airflow deployment has."
        ) from None
    if not found.strip():
        raise YouComRefusedError(
            f"The Airflow Variable {DEPLOYMENT_VARIABLE} is empty: set it to a text that no other Airflow "
            "deployment has."
        )
    return found


def saved_deployment_id() -> str:
    """
    Return the id of this Airflow deployment in its API server; an empty string if none was made yet.

    :raises YouComLedgerUnavailableError: if Airflow does not say what the id is.
    """
    try:
        found = read_variable_on_the_server(DEPLOYMENT_VARIABLE) or ""
    except (VariableUnavailableError, VariableDeniedError):
        # Without the text of the error, which a secrets backend chooses: all who see the page would read it.
        raise YouComLedgerUnavailableError(
            f"The Airflow Variable {DEPLOYMENT_VARIABLE} cannot be read, so no run is shown by name: check "
            "Airflow's database and its secrets backends."
        ) from None
    # Otherwise as it is: gates write it so.
    return found if found.strip() else ""


def _make() -> str:
    return _insert() if tasks_have_the_database() else _agree()


def _insert() -> str:
    insert_variable(DEPLOYMENT_VARIABLE, uuid.uuid4().hex, _ID_DESCRIPTION)
    found = read_variable(DEPLOYMENT_VARIABLE)
    if found is None:
        raise VariableUnavailableError(_UNREADABLE)
    return found


def _agree() -> str:
    """Agree on an id with all tasks that find none, and return what is saved."""
    log.info(
        "There is no Airflow Variable %s yet: it is made now, once, which takes half a minute. If the "
        "execution_timeout of this task is shorter, set the Variable by hand.",
        DEPLOYMENT_VARIABLE,
    )
    candidate: str | None = None
    missed = 0
    started = same_since = time.monotonic()
    while time.monotonic() - started < GIVE_UP_AFTER:
        found = read_variable(DEPLOYMENT_VARIABLE)
        if found is not None:
            delete_variable(CANDIDATE_VARIABLE)
            return found
        looked_at = time.monotonic()
        seen = read_variable(CANDIDATE_VARIABLE)
        missed = missed + 1 if seen is None else 0
        if missed >= _LOOKS_FOR_A_CANDIDATE:
            save_variable(CANDIDATE_VARIABLE, uuid.uuid4().hex, _CANDIDATE_DESCRIPTION)
        elif seen and seen != candidate:
            candidate, same_since = seen, time.monotonic()
        elif seen and looked_at - same_since >= UNCHANGED_FOR:
            _save(seen)
            continue
        # At random moments, so that the tasks of a fleet do not all ask at once.
        time.sleep(LOOK_EVERY * random.uniform(0.5, 1.5))  # noqa: S311  # nosec B311 - not a secret
    raise VariableUnavailableError(
        f"could not agree, since {CANDIDATE_VARIABLE} has not been the same for {UNCHANGED_FOR:g} s"
    )


def _save(candidate: str) -> None:
    if not is_listed(DEPLOYMENT_VARIABLE):
        save_variable(DEPLOYMENT_VARIABLE, candidate, _ID_DESCRIPTION)
    elif read_variable(DEPLOYMENT_VARIABLE) is None:
        # Otherwise, another task of the fleet has just saved it.
        raise VariableUnavailableError(_UNREADABLE)
