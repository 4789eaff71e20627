"""The operator: push the balance to XCom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_youcom.exceptions import YouComRefusedError
from airflow_provider_youcom.links import TopUpCreditsLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg
    from airflow.sdk.definitions.param import DagParam


class GetBalanceOperator(BaseOperator):
    """
    Push the balance of a You.com account to XCom.

    ``return_value`` is ``{"account_id": str, "balance_cents": number, "balance_usd": number,
    "checked_at": ISO-8601 UTC}``. With ``multiple_outputs``, the default, each value is pushed under its own
    key too: pass ``XComArg(get_balance, key="balance_usd")`` to another task.

    :param youcom_conn_id: the connection; templated. Default: ``youcom_default``.
    :param multiple_outputs: push each value under its own key too. Default: True.
    """

    template_fields: Sequence[str] = ("youcom_conn_id",)
    operator_extra_links = (TopUpCreditsLink(),)
    ui_color = "#e8e4fb"

    def __init__(
        self,
        *,
        youcom_conn_id: str | XComArg | DagParam = "youcom_default",
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.youcom_conn_id = youcom_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Return the balance, and log it.

        :param context: Airflow's context.
        :raises AirflowFailException: if You.com refuses the request, since a retry cannot help.
        :raises YouComError: if You.com does not answer, or its answer cannot be read. Airflow retries the
            task if ``retries`` is set.
        """
        from airflow_provider_youcom.hooks.youcom import YouComHook

        try:
            balance = YouComHook(self.youcom_conn_id).get_balance()
        except YouComRefusedError as refusal:
            raise AirflowFailException(str(refusal)) from refusal
        self.log.info("%s", balance)
        return balance.to_json()
