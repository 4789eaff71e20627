"""Push the balance to XCom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_youcom.exceptions import YouComRefusedError
from airflow_provider_youcom.links import TopUpCreditsLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class GetBalanceOperator(BaseOperator):
    """
    Asks what a You.com account holds, and pushes it to XCom.

    ``return_value`` is ``{"account_id": str, "balance_cents": number, "balance_usd": number,
    "checked_at": ISO-8601 UTC}``; with ``multiple_outputs``, which is on, each member has a key of its own
    too, as in ``get_balance.output["balance_usd"]``.

    :param youcom_conn_id: the connection; templated.
    """

    template_fields: Sequence[str] = ("youcom_conn_id",)
    operator_extra_links = (TopUpCreditsLink(),)
    ui_color = "#e8e4fb"

    def __init__(
        self, *, youcom_conn_id: str = "youcom_default", multiple_outputs: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.youcom_conn_id = youcom_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Ask, log one line, and return the balance.

        :param context: Airflow's context.
        :raises AirflowFailException: if You.com refuses, since no retry can help.
        :raises YouComError: if there is no answer, or none that can be read; ``retries`` apply.
        """
        from airflow_provider_youcom.hooks.youcom import YouComHook

        try:
            balance = YouComHook(self.youcom_conn_id).get_balance()
        except YouComRefusedError as refusal:
            raise AirflowFailException(str(refusal)) from refusal
        self.log.info("%s", balance)
        return balance.to_json()
