"""The values for Dagster's Helm chart: names that the chart knows, and Kubernetes objects that Kubernetes accepts.

Nothing is installed here: neither the chart nor a cluster is within reach. ``dagster_chart.json`` says where the names
are from.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import kubernetes_validate
import pytest
import yaml
from dagster_k8s.launcher import K8sRunLauncher

from apex_pipeline.orchestration.places import runs_elsewhere
from apex_pipeline.settings import environment_variables, load_settings

_PROJECT = Path(__file__).resolve().parents[1]
_TEXT = (_PROJECT / "deploy" / "helm" / "values.yaml").read_text()
_VALUES: dict[str, Any] = yaml.safe_load(_TEXT)
_SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "dagster_chart.json").read_text())
_CODE: dict[str, Any] = _VALUES["dagster-user-deployments"]["deployments"][0]
# The oldest release that cloud providers still offer.
_KUBERNETES = "1.33"


def test_the_values_have_only_names_of_the_chart() -> None:
    jsonschema.validate(_VALUES, _SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"runLaunchr": {}},
        {"runLauncher": {"type": "K8sRunLauncher", "config": {}}},
        {"postgresql": {"enabled": "no"}},
        {"dagsterDaemon": {"runRetries": {"enabled": True, "max_retries": 2}}},
        {"dagsterWebserver": {"envSecrets": ["apex-s3"]}},
    ],
)
def test_a_misspelled_or_malformed_value_would_be_found(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(_VALUES | change, _SCHEMA)


def _job(launcher: dict[str, Any]) -> dict[str, Any]:
    """Return a job as the launcher makes it of its Kubernetes configuration."""
    config: dict[str, Any] = launcher["runK8sConfig"]
    container = {"name": "dagster", "image": "apex-pipeline:1", **config["containerConfig"]}
    pod = {"restartPolicy": "Never", "containers": [container], **config["podSpecConfig"]}
    spec = {"template": {"spec": pod}, **config["jobSpecConfig"]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "dagster-run"}, "spec": spec}


def _pods() -> Iterator[dict[str, Any]]:
    """Yield a pod with what the values say of each service's container."""
    for service in (_CODE, _VALUES["dagsterWebserver"], _VALUES["dagsterDaemon"]):
        image = f"{service['image']['repository']}:{service['image']['tag']}"
        container = {
            "name": "service",
            "image": image,
            "imagePullPolicy": service["image"]["pullPolicy"],
            "resources": service["resources"],
            "envFrom": [{"secretRef": secret} for secret in service["envSecrets"]],
            "env": [{"name": name, "value": value} for name, value in service.get("env", {}).items()],
        }
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [container]}}


def test_kubernetes_accepts_the_job_of_a_run_and_the_containers_of_the_services() -> None:
    for manifest in (_job(_VALUES["runLauncher"]["config"]["k8sRunLauncher"]), *_pods()):
        kubernetes_validate.validate(manifest, _KUBERNETES, strict=True)


def test_a_field_that_kubernetes_does_not_know_would_be_found() -> None:
    job = _job(_VALUES["runLauncher"]["config"]["k8sRunLauncher"])
    job["spec"]["ttlSeconds"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, _KUBERNETES, strict=True)


def test_secrets_are_named_and_none_is_in_the_file() -> None:
    assert not re.search(r"(?i)(password|secret_access_key|access_key_id)\s*:\s*\S", _strip_comments(_TEXT))
    assert _VALUES["generatePostgresqlPasswordSecret"] is False
    assert _VALUES["global"]["postgresqlSecretName"] == "apex-postgresql"


def _strip_comments(text: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", text, flags=re.MULTILINE)


def test_every_variable_is_read_and_lake_and_source_are_in_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, str] = _CODE["env"]
    assert given.keys() <= environment_variables().keys()
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.use_s3_data
    assert settings.source.startswith("s3://")
    assert settings.environment == "cluster"


def test_runs_have_the_memory_that_they_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APEX_MEMORY_LIMIT", _CODE["env"]["APEX_MEMORY_LIMIT"])
    run = _VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]["containerConfig"]["resources"]
    limit = int(run["limits"]["memory"].removesuffix("Gi")) * 1024**3
    assert limit >= load_settings().memory_limit + 700_000_000
    assert run["requests"]["memory"] == run["limits"]["memory"]  # or a full node kills it


def test_the_chart_is_of_the_release_that_is_tested() -> None:
    assert f"--version {dg.__version__} " in _TEXT


def test_a_folder_is_refused_with_this_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = object.__new__(K8sRunLauncher)  # its own __init__ asks the cluster for its address
    monkeypatch.setattr(dg.DagsterInstance, "run_launcher", property(lambda _: launcher))
    with dg.DagsterInstance.ephemeral() as instance:
        assert runs_elsewhere(instance)
        monkeypatch.undo()
