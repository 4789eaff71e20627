"""Settings for an Airflow that tests start, several of which run side by side on a busy machine."""

# DAG files do not change while a test runs.
_SECONDS_BETWEEN_PARSINGS = "300"

# An Airflow that has nothing to do takes a third of the machine that it takes otherwise.
LITTLE_IDLE_WORK = {
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": _SECONDS_BETWEEN_PARSINGS,
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": _SECONDS_BETWEEN_PARSINGS,
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": _SECONDS_BETWEEN_PARSINGS,
    # How long after its parsing a DAG counts as removed if Airflow 3.0 runs a callback: apache/airflow#55315.
    "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "3600",
    # Airflow 2.11.
    "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": _SECONDS_BETWEEN_PARSINGS,
    "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": _SECONDS_BETWEEN_PARSINGS,
}
# On SQLite, Airflow 2 otherwise runs one task at a time, each in an interpreter of its own.
LOCAL_EXECUTOR = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
}
# On a busy machine everything is late, but nothing is lost.
PATIENCE = {
    **LITTLE_IDLE_WORK,
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "300",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "600",
    # A task that cannot start since the API server is slow has failed.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    # Airflow 2.11 stops its webserver when that does not answer its monitor for 120 s.
    "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "600",
}
