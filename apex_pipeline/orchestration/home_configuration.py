"""Writes the ``dagster.yaml`` of a Dagster home, with as many runs at once as the machine has memory for.

See ``deploy/dagster.yaml`` for a server's, which has the same rules, and ``instance.py`` for opening a home.
"""

import json
import os
import re
from pathlib import Path

from apex_pipeline.process.memory import free_memory

# The webserver, the daemon, the code server and their parents take 630 MB together.
SERVICES_BYTES = 700_000_000
# Dagster's own default; more runs would wait for the database.
_MOST_RUNS = 10

_CONFIGURATION = """\
# Created by apex on first use; change it as needed. See https://docs.dagster.io/deployment/oss/dagster-yaml
telemetry:
  enabled: false
nux:
  enabled: false
storage:
  # Dagster's own SQLite storage, with databases that stay open and the events of all runs in one: opening them for
  # every statement, and making one for every run, takes a fifth of a small sync. See docs/dagster.md, Storage.
  custom:
    module: apex_pipeline.orchestration.kept_databases
    class: KeptStorage
    config:
      base_dir: {home}
      has_one_event_log: true
compute_logs:
  # What runs print, at Dagster's usual place; those of `apex sync` print nothing, and no process is started for it.
  module: apex_pipeline.orchestration.kept_databases
  class: ComputeLogs
  config:
    base_dir: {logs}
concurrency:
  runs:
    # One session is one run, of at most APEX_MEMORY_LIMIT and about one processor. Of the memory that was free when
    # this file was written, Dagster itself takes 0.7 GB.
    max_concurrent_runs: {runs}
run_queue:
  # A code server that is being restarted does not fail the runs that are queued in the meantime.
  max_user_code_failure_retries: 3
  user_code_failure_retry_delay: 60
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  # No run takes a day: one that has not ended by then is lost, and others wait for its place.
  max_runtime_seconds: 86400
  free_slots_after_run_end_seconds: 300
run_retries:
  enabled: true
  max_retries: 2
  # Steps retry transient errors themselves, and permanent errors need no retry: this is for crashes.
  retry_on_asset_or_op_failure: false
retention:
  schedule:
    purge_after_days: 365
  sensor:
    purge_after_days: 30
"""


# The folders in the entries above, of databases and of what runs print.
_BASE_DIR = re.compile(r"(^    class: KeptStorage\n    config:\n      base_dir: ).*$", re.MULTILINE)
_LOGS_DIR = re.compile(r"(^  class: ComputeLogs\n  config:\n    base_dir: ).*$", re.MULTILINE)
# Where Dagster keeps them if dagster.yaml does not say.
_LOGS = "storage"


def concurrent_runs(memory_limit: int) -> int:
    """Return how many runs fit on this machine at once: free memory by the limit of one run, at least 1.

    Args:
        memory_limit: Most memory of one run, in bytes.
    """
    free = free_memory()
    if free is None:
        return 1
    processors = os.cpu_count() or 1
    return max(1, min((free - SERVICES_BYTES) // memory_limit, processors, _MOST_RUNS))


def home_configuration(home: Path, memory_limit: int) -> str:
    """Return the text of a new home's ``dagster.yaml``.

    Args:
        home: Its folder.
        memory_limit: Most memory of one run, in bytes.
    """
    return _CONFIGURATION.format(home=_as_yaml(home), logs=_as_yaml(home / _LOGS), runs=concurrent_runs(memory_limit))


def moved_configuration(text: str, home: Path) -> str:
    """Return the text of a ``dagster.yaml`` with the databases in this home, where a home was moved or copied.

    Args:
        text: What is in the file; only the lines that this module has written into it are changed.
        home: The folder that it lies in now.
    """
    text = _BASE_DIR.sub(lambda found: f"{found[1]}{_as_yaml(home)}", text)
    return _LOGS_DIR.sub(lambda found: f"{found[1]}{_as_yaml(home / _LOGS)}", text)


def _as_yaml(home: Path) -> str:
    return json.dumps(str(home), ensure_ascii=False)  # a text of JSON is one of YAML, whatever the name has in it
