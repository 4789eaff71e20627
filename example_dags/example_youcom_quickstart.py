import pendulum
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_youcom.sensors.balance import BalanceSensor


@dag(start_date=pendulum.datetime(2026, 1, 1), schedule=None, tags=["youcom"])
def example_youcom_quickstart() -> None:
    @task
    def spend() -> None:
        print("The account can pay for this.")

    BalanceSensor(task_id="enough_credit", min_usd=25, deferrable=True) >> spend()


example_youcom_quickstart()
