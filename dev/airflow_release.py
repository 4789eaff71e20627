"""What differs between the major versions of Airflow, and the settings of a private one."""

from __future__ import annotations

import base64
import configparser
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Settings = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Release:
    """
    What differs between the major versions of Airflow.

    :param commands: arguments of the ``airflow`` command for each component.
    :param aliases: the names that components have in the other version.
    :param server: the component that serves the UI and the REST API.
    :param api: path of the REST API.
    :param health: path of the health check, below ``api``.
    :param trigger_defaults: what a request that starts a run must contain.
    :param log_format: the media type of task logs.
    :param sqlite_executor: the executor that this version allows with SQLite.
    :param settings: settings that only this version has.
    :param webserver_config: content of ``webserver_config.py``.
    """

    commands: Mapping[str, Sequence[str]]
    aliases: Mapping[str, str]
    server: str
    api: str
    health: str
    trigger_defaults: Mapping[str, None]
    log_format: str
    sqlite_executor: str
    settings: Settings
    webserver_config: str = ""


# No component serves logs: a log server listens on all interfaces, and the API server reads the same files
# from the disk.
AIRFLOW_2 = Release(
    commands={
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "triggerer": ["triggerer", "--skip-serve-logs"],
        "webserver": ["webserver"],
    },
    aliases={"api-server": "webserver", "dag-processor": "scheduler"},
    server="webserver",
    api="/api/v1",
    health="/health",
    trigger_defaults={},
    log_format="text/plain",
    sqlite_executor="SequentialExecutor",
    settings={
        "api": {"auth_backends": "airflow.api.auth.backend.default"},
        "scheduler": {
            "dag_dir_list_interval": "1",
            "min_file_process_interval": "10",
            "scheduler_zombie_task_threshold": "30",
            "zombie_detection_interval": "5",
        },
    },
    webserver_config='AUTH_TYPE = 1\nAUTH_ROLE_PUBLIC = "Admin"\n',
)
AIRFLOW_3 = Release(
    commands={
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "dag-processor": ["dag-processor"],
        "triggerer": ["triggerer", "--skip-serve-logs"],
        "api-server": ["api-server"],
    },
    aliases={"webserver": "api-server"},
    server="api-server",
    api="/api/v2",
    health="/monitor/health",
    trigger_defaults={"logical_date": None},
    log_format="application/json",
    sqlite_executor="LocalExecutor",
    settings={
        "core": {"simple_auth_manager_all_admins": "True"},
        "dag_processor": {
            "refresh_interval": "1",
            "bundle_refresh_check_interval": "1",
            "min_file_process_interval": "10",
        },
        "scheduler": {
            "task_instance_heartbeat_timeout": "30",
            "task_instance_heartbeat_timeout_detection_interval": "5",
        },
        # How late the executor may learn that a task has deferred. It mistakes a task that was resumed
        # earlier for one that was killed, and fails it.
        "workers": {"min_heartbeat_interval": "1"},
    },
)


def write_configuration(
    home: Path, release: Release, *, dags_folder: Path, database_url: str, ports: Sequence[int]
) -> None:
    """
    Write ``airflow.cfg``. An existing one is replaced, but keeps its keys.

    :param home: AIRFLOW_HOME.
    :param release: the version of Airflow.
    :param dags_folder: folder that DAGs are read from.
    :param database_url: SQLAlchemy URL of the database.
    :param ports: the server's port, and two ports that stay unused.
    """
    path = home / "airflow.cfg"
    before = configparser.ConfigParser()
    before.read(path)

    def key(section: str, option: str) -> str:
        made = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        return before.get(section, option, fallback=made)

    port, *unused_ports = map(str, ports)
    base_url = f"http://127.0.0.1:{port}"
    sqlite = database_url.startswith("sqlite")
    common: Settings = {
        "core": {
            "dags_folder": str(dags_folder),
            "executor": release.sqlite_executor if sqlite else "LocalExecutor",
            "parallelism": "8",
            "load_examples": "False",
            "fernet_key": key("core", "fernet_key"),
            "execution_api_server_url": f"{base_url}/execution/",
            "test_connection": "Enabled",
            "min_serialized_dag_update_interval": "1",
            "min_serialized_dag_fetch_interval": "1",
        },
        "database": {"sql_alchemy_conn": database_url, "load_default_connections": "False"},
        "logging": {
            "colored_console_log": "False",
            "worker_log_server_port": unused_ports[0],
            "trigger_log_server_port": unused_ports[1],
        },
        "api": {
            "base_url": base_url,
            "host": "127.0.0.1",
            "port": port,
            "workers": "1",
            "maximum_page_limit": "10000",
            "secret_key": key("api", "secret_key"),
        },
        # Without an issuer, Airflow 3.0 does not work with newer versions of PyJWT.
        "api_auth": {"jwt_secret": key("api_auth", "jwt_secret"), "jwt_issuer": "local-airflow"},
        "webserver": {
            "base_url": base_url,
            "web_server_host": "127.0.0.1",
            "web_server_port": port,
            "workers": "1",
            "secret_key": key("webserver", "secret_key"),
        },
        "scheduler": {
            "job_heartbeat_sec": "1",
            "scheduler_heartbeat_sec": "1",
            "scheduler_idle_sleep_time": "0.2",
            "scheduler_health_check_threshold": "15",
            "orphaned_tasks_check_interval": "5",
            "trigger_timeout_check_interval": "2",
        },
        # A triggerer takes over the triggers of a killed one when that one's heartbeat is this old.
        "triggerer": {"job_heartbeat_sec": "1", "triggerer_health_check_threshold": "15"},
        "usage_data_collection": {"enabled": "False"},
    }
    parser = configparser.ConfigParser()
    for layer in (common, release.settings):
        for section, options in layer.items():
            parser.read_dict({section: {name: value.replace("%", "%%") for name, value in options.items()}})
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        parser.write(file)
    if release.webserver_config:
        (home / "webserver_config.py").write_text(release.webserver_config)
