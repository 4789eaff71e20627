"""
Who may see the page, and what of it: whatever is unclear stays hidden.

A mounted app inherits nothing of Airflow's own authentication. Every name on the page passes through
``what_may_be_seen``: the page is made only from what it returns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_view
from airflow.models.dag import DagModel
from fastapi import Depends
from fastapi.concurrency import run_in_threadpool

from airflow_provider_youcom._page.shared_read import Problem
from airflow_provider_youcom._page.snapshot import Account, Figures, Snapshot, Waiting
from airflow_provider_youcom.ledger.claim import Holder
from airflow_provider_youcom.ledger.overview import ReservedByDag
from airflow_provider_youcom.ledger.reservation import Reservation
from airflow_provider_youcom.money import add_exactly

# The same permission as for Airflow's menu: 401 for a visitor without a login, 403 for a user without it.
_may_enter = requires_access_view(AccessView.PLUGINS)


async def user_who_may_enter(user: GetUserDep, _: Annotated[None, Depends(_may_enter)]) -> Any:
    """
    Return the user, if the user may see Airflow's plugins.

    :param user: who asks.
    """
    return user


@dataclass(frozen=True)
class Sight:
    """
    What a user may see by name: runs of this deployment, of DAGs that the user may read.

    :param deployment: the id of this Airflow deployment; empty if it is not known, which hides all names.
    :param dag_ids: the DAGs that the user may read.
    :param dag_ids_with_runs: those of them whose runs the user may read, too.
    """

    deployment: str
    dag_ids: frozenset[str]
    dag_ids_with_runs: frozenset[str]

    def shows(self, holder: Holder) -> bool:
        """
        Return whether the user may see this run.

        :param holder: who has reserved, or waits.
        """
        return self._is_of_here(holder) and holder.dag_id in self.dag_ids_with_runs

    def shows_dag(self, dag: ReservedByDag) -> bool:
        """
        Return whether the user may see this DAG.

        :param dag: a DAG that has reserved.
        """
        return self._is_of_here(dag) and dag.dag_id in self.dag_ids

    def _is_of_here(self, named: Holder | ReservedByDag) -> bool:
        return bool(self.deployment and named.dag_id) and named.deployment == self.deployment


async def readable_dag_ids(user: Any) -> frozenset[str]:
    """
    Return the DAGs that a user may read.

    :param user: the user.
    """
    # The auth manager asks Airflow's database, as it does for each of Airflow's own requests.
    return frozenset(await run_in_threadpool(lambda: get_auth_manager().get_authorized_dag_ids(user=user)))


async def dag_ids_with_readable_runs(user: Any, dag_ids: Collection[str]) -> frozenset[str]:
    """
    Return the DAGs whose runs a user may read.

    :param user: the user.
    :param dag_ids: DAGs that the user may read.
    """
    return await run_in_threadpool(lambda: frozenset(each for each in dag_ids if _may_read_runs(user, each)))


def _may_read_runs(user: Any, dag_id: str) -> bool:
    # As Airflow's own API does for the runs of a DAG.
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.RUN, details=details, user=user
    )


async def explain_to(user: Any, problems: Mapping[Problem, Snapshot | None]) -> dict[str, Snapshot | None]:
    """
    Return problems in words, with details if the user may read Airflow's connections.

    :param user: the user.
    :param problems: why something is missing or old, with what is shown instead.
    """
    details = any(each.details for each in problems) and await run_in_threadpool(
        lambda: get_auth_manager().is_authorized_connection(method="GET", user=user)
    )
    return {
        f"{each.sentence} {each.details}".strip() if details else each.sentence: instead
        for each, instead in problems.items()
    }


@dataclass(frozen=True)
class Others:
    """
    What the user may not see by name, as a sum.

    :param count: how many there are.
    :param usd: how much they have reserved, or need, in dollars.
    """

    count: int
    usd: Decimal


@dataclass(frozen=True)
class VisibleAccount:
    """
    What a user may see of an account.

    :param figures: its figures, in which nobody is named.
    :param line: who waits.
    :param others_in_line: who else waits.
    :param holding: the reservations that stand.
    :param others_holding: what else stands.
    :param settling_usd: how much counts of reservations that have ended, in dollars.
    :param reserved_by_dag: which DAGs have reserved.
    :param others_week_usd: what all others have reserved in the last 7 days, in dollars.
    :param others_month_usd: what all others have reserved in the last 30 days, in dollars.
    """

    figures: Figures
    line: tuple[Waiting, ...]
    others_in_line: Others
    holding: tuple[Reservation, ...]
    others_holding: Others
    settling_usd: Decimal
    reserved_by_dag: tuple[ReservedByDag, ...]
    others_week_usd: Decimal
    others_month_usd: Decimal


def what_may_be_seen(account: Account, sight: Sight) -> VisibleAccount:
    """
    Return what a user may see of an account.

    :param account: all that is known of it.
    :param sight: what the user may see by name.
    """
    standing = [each for each in account.counting if each.stands]
    dags = [each for each in account.reserved_by_dag if sight.shows_dag(each)]
    other_dags = [each for each in account.reserved_by_dag if not sight.shows_dag(each)]
    return VisibleAccount(
        figures=account.figures,
        line=tuple(each for each in account.line if sight.shows(each.holder)),
        others_in_line=_others(each.amount_usd for each in account.line if not sight.shows(each.holder)),
        holding=tuple(each for each in standing if sight.shows(each.holder)),
        others_holding=_others(each.amount_usd for each in standing if not sight.shows(each.holder)),
        settling_usd=add_exactly(*(each.amount_usd for each in account.counting if not each.stands)),
        reserved_by_dag=tuple(dags),
        others_week_usd=add_exactly(*(each.week_usd for each in other_dags)),
        others_month_usd=add_exactly(*(each.month_usd for each in other_dags)),
    )


def _others(amounts_usd: Iterable[Decimal]) -> Others:
    hidden = list(amounts_usd)
    return Others(len(hidden), add_exactly(*hidden))
