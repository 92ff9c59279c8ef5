"""``apex doctor`` on the machine itself: settings, folders, disk, memory, Dagster; and a lake in a folder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagster import DagsterInstance

from apex_pipeline.errors import StorePermissionError
from apex_pipeline.ops.doctor import machine_memory
from apex_pipeline_tests.cli.conftest import Apex


@pytest.mark.req("A-121")
def test_a_synced_folder_is_healthy(demo_dir: Path, run_doctor: Any) -> None:
    found = run_doctor("demo-weekend")
    assert found.code == 0
    assert {name: check["state"] for name, check in found.items()} == {
        **dict.fromkeys(("settings", "lake", "reading", "published", "tracks", "source", "disk", "memory"), "ok"),
        **dict.fromkeys(("writing", "dagster"), "note"),
    }
    assert "4 sessions in snapshot" in found["published"]["said"]


def test_doctor_prints_one_line_per_check(demo_dir: Path, apex: Apex) -> None:
    result = apex("doctor", "demo-weekend")
    assert result.code == 0
    assert result.out.count("\nok ") == 7
    assert "note     writing: not tried. `apex doctor --write` writes a small object and removes it." in result.out


def test_a_new_machine_has_no_problems(run_doctor: Any) -> None:
    found = run_doctor()
    assert found.code == 0
    assert "The first `apex sync` creates it." in found["lake"]["remedy"]
    assert found["source"]["said"] == "no source folder is given"
    assert "reading" not in found
    assert list(Path().iterdir()) == []


def test_a_test_object_that_cannot_be_removed_is_named(
    demo_dir: Path, run_doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorePermissionError("Deleting failed.", "Grant s3:DeleteObject.")

    monkeypatch.setattr("apex_pipeline.storage.local.LocalStore.delete", refuse)
    found = run_doctor("--write")
    (left,) = (demo_dir / "lake").glob("apex-doctor-*")
    left.unlink()
    assert f"{left} was written as a test and is still there" in found["writing"]["said"]
    assert found["writing"]["remedy"] == "Grant s3:DeleteObject."


def test_an_invalid_setting_is_a_check_result(run_doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_S3_DATA", "maybe")
    found = run_doctor()
    assert (found.code, list(found)) == (2, ["settings"])
    assert "USE_S3_DATA" in found["settings"]["said"]


def test_a_missing_source_folder_is_a_problem_with_a_next_step(apex: Apex) -> None:
    result = apex("doctor", "nowhere")
    assert result.code == 2
    assert (
        "problem  source: The source folder nowhere does not exist. Specify the folder that contains the race files."
        in (result.out)
    )


def test_unusable_source_files_are_named(demo_dir: Path, run_doctor: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to("nothing")
    found = run_doctor(str(tmp_path))
    assert "1 cannot be used: a.csv: it is a broken link." in found["source"]["said"]


@pytest.mark.parametrize("use_s3", ["true", "false"])
def test_a_full_disk_is_a_problem(
    run_doctor: Any, monkeypatch: pytest.MonkeyPatch, use_endpoint: Any, closed_port: str, use_s3: str
) -> None:
    use_endpoint(closed_port)
    monkeypatch.setenv("USE_S3_DATA", use_s3)
    monkeypatch.setattr("apex_pipeline.ops.doctor.ENOUGH_DISK", 10**18)
    found = run_doctor()
    assert (found.code, found["disk"]["state"]) == (2, "problem")
    assert "APEX_STATE_DIR" in found["disk"]["remedy"]


@pytest.mark.parametrize(
    ("memory", "state"), [(None, "note"), (8 * 10**9, "ok"), (3 * 10**9 // 2, "note"), (9 * 10**8, "problem")]
)
def test_the_memory_limit_is_compared_with_the_memory_of_the_machine(
    run_doctor: Any, monkeypatch: pytest.MonkeyPatch, memory: int | None, state: str
) -> None:
    monkeypatch.setattr("apex_pipeline.ops.doctor.machine_memory", lambda: memory)
    assert run_doctor()["memory"]["state"] == state


@pytest.mark.parametrize(("limit", "applies"), [("1000\n", True), ("max\n", False)])
def test_the_memory_limit_of_a_container_applies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, *, applies: bool
) -> None:
    (tmp_path / "memory.max").write_text(limit, encoding="ascii")
    monkeypatch.setattr("apex_pipeline.ops.doctor._CONTAINER_LIMIT", tmp_path / "memory.max")
    assert (machine_memory() == 1000) is applies


def test_a_lake_that_is_a_file_or_cannot_be_created_is_a_problem(
    run_doctor: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("lake").write_text("x", encoding="utf-8")
    assert "is a file" in run_doctor()["lake"]["said"]
    Path("lake").unlink()
    monkeypatch.setattr("apex_pipeline.ops.doctor.os.access", lambda *_: False)
    assert f"may not write to {tmp_path}" in run_doctor()["lake"]["said"]


def test_a_damaged_catalog_is_a_problem(run_doctor: Any) -> None:
    Path("lake", "catalog").mkdir(parents=True)
    Path("lake", "catalog", "current.json").write_text("{}", encoding="utf-8")
    found = run_doctor()
    assert (found.code, found["published"]["state"]) == (2, "problem")
    assert "Run `apex sync`" in found["published"]["remedy"]


def test_an_empty_lake_suggests_the_first_sync(run_doctor: Any) -> None:
    Path("lake").mkdir()
    assert run_doctor()["published"]["remedy"] == "Run `apex sync FOLDER`."


@pytest.mark.parametrize(
    ("healthy", "state", "message"),
    [
        ({"SENSOR": True, "SCHEDULER": True}, "ok", "the daemon is alive"),
        ({"SENSOR": True, "SCHEDULER": False}, "problem", "no heartbeat from SCHEDULER"),
        ({"SENSOR": None}, "note", "no daemon is running"),
    ],
)
def test_the_dagster_check_reads_the_daemon_heartbeats(
    demo_dir: Path,
    run_doctor: Any,
    monkeypatch: pytest.MonkeyPatch,
    healthy: dict[str, bool | None],
    state: str,
    message: str,
) -> None:
    statuses = {name: SimpleNamespace(healthy=value) for name, value in healthy.items()}
    monkeypatch.setattr(DagsterInstance, "get_daemon_statuses", lambda _: statuses)
    found = run_doctor("demo-weekend")
    assert (found["dagster"]["state"], message in found["dagster"]["said"]) == (state, True)


def test_a_home_with_a_database_per_run_is_told_of_the_faster_storage(demo_dir: Path, run_doctor: Any) -> None:
    configuration = next(Path.cwd().rglob("dagster.yaml"))
    made = configuration.read_text(encoding="utf-8")
    configuration.write_text(made.replace("      has_one_event_log: true\n", ""), encoding="utf-8")
    assert "section Storage" in str(run_doctor("demo-weekend")["dagster"])
    configuration.write_text(made, encoding="utf-8")
    assert "section Storage" not in str(run_doctor("demo-weekend")["dagster"])


def test_a_home_made_before_is_told_of_the_faster_storage(demo_dir: Path, run_doctor: Any) -> None:
    assert "section Storage" not in str(run_doctor("demo-weekend")["dagster"])
    configuration = next(Path.cwd().rglob("dagster.yaml"))
    before, _, rest = configuration.read_text(encoding="utf-8").partition("storage:\n")
    configuration.write_text(f"{before}concurrency:{rest.partition('concurrency:')[2]}", encoding="utf-8")
    assert "section Storage" in str(run_doctor("demo-weekend")["dagster"])


def test_a_dagster_home_that_cannot_be_opened_is_a_problem(run_doctor: Any) -> None:
    Path(".dagster").mkdir()
    Path(".dagster", "dagster.yaml").write_text("storage: nonsense\n", encoding="utf-8")
    found = run_doctor()
    assert (found.code, found["dagster"]["state"]) == (2, "problem")
    assert "dagster.yaml" in str(found["dagster"])
