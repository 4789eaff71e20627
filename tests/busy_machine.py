"""Settings for an Airflow that tests start: on a busy machine everything is late, but nothing is lost."""

# DAG files do not change while a test runs; a watcher ends with its DAG at the next parsing.
_PARSE_AGAIN_AFTER = "20"

PATIENCE = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "300",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "600",
    # Several Airflows run side by side, and each one takes less of the machine while it has nothing to do.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    # Airflow 2.11 stops its webserver when that does not answer its monitor for 120 s.
    "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "600",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": _PARSE_AGAIN_AFTER,
    "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": _PARSE_AGAIN_AFTER,
}
