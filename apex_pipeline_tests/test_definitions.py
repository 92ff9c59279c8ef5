"""The Dagster definitions: they load without settings or warnings, and the asset graph is the expected one."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from apex_pipeline.definitions import defs
from apex_pipeline.orchestration.assets.events import EVENT_JOBS
from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.orchestration.job_names import SESSION_JOB
from apex_pipeline.orchestration.jobs import build_jobs
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.settings import load_settings
from apex_pipeline.sources import all_tables, session_tables
from apex_pipeline.sources.gr_cup.source import GrCup

_PROJECT = Path(__file__).resolve().parents[1]
_TABLES = all_tables()
_JOBS = [*build_jobs(session_tables()), *EVENT_JOBS]
# Observed, never made by a step.
_OBSERVED = {"raw/files", "events/shipped", "races/raw"}

_REJECTS = ("official_rejects", "lap_rejects", "telemetry_rejects")
_RECORD = {"lake/session"}
_SESSION_TABLES = {f"tables/{name}" for name, table in _TABLES.items() if table.folder == "tables"}

# Asset → its dependencies, repeated here to catch unintended changes of the graph.
_GRAPH = {
    "raw/files": set[str](),
    "lake/files": {"raw/files"},
    "lake/session": {"lake/files"},
    "tables/laps": _RECORD | {"tables/official_laps"},
    "tables/cars": _RECORD | {"tables/official_laps"},
    "tables/lap_rejects": _RECORD | {"tables/official_laps"},
    "tables/telemetry": _RECORD | {"tables/laps"},
    "tables/telemetry_cars": _RECORD | {"tables/laps"},
    "tables/telemetry_holes": _RECORD | {"tables/laps"},
    "tables/telemetry_rejects": _RECORD | {"tables/laps"},
    "tables/quality": _RECORD
    | {f"tables/{name}" for name in (*("laps", "cars", "official_laps", "results", "telemetry_cars"), *_REJECTS)},
    "tables/official_laps": _RECORD,
    "tables/official_points": _RECORD,
    "tables/results": _RECORD,
    "tables/weather": _RECORD,
    "tables/official_rejects": _RECORD,
    "lake/published": _RECORD | _SESSION_TABLES,
    "lake/unassigned_files": set[str](),
    "catalog/files": _RECORD | {"lake/unassigned_files"},
    "catalog/tracks": _RECORD,
    "catalog/sessions": _RECORD,
    "catalog/manifest": {"lake/published"},
    "reports/session": {"lake/published"},
    "events/shipped": set[str](),
    "events/records": {"events/shipped"},
    "races/raw": set[str](),
    "races/laps": {"races/raw"},
    "races/timing": {"races/raw"},
}

# What covers all sessions.
_UNPARTITIONED = {"lake/unassigned_files", *(asset for asset in _GRAPH if asset.startswith("catalog/"))}

# The groups in the order of the data flow.
_GROUPS = (
    *("raw", "lake", "tables/official_timing", "tables/laps", "tables/telemetry", "tables/quality"),
    *("published", "reports", "catalog", "events", "races"),
)


def _run_alone(program: str, *options: str) -> tuple[int, str]:
    """Run a program in a process without any setting; return its exit code and what it wrote to stderr."""
    command = [sys.executable, *options, "-c", program]
    ended = subprocess.run(command, env={"PYTHONPATH": str(_PROJECT)}, stderr=subprocess.PIPE, text=True, check=False)
    return ended.returncode, ended.stderr


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(load_settings())


@pytest.mark.req("P-01", "A-003")
def test_the_definitions_load_without_any_setting() -> None:
    loaded = defs()
    dg.Definitions.validate_loadable(loaded)
    assert {spec.key.to_user_string() for spec in loaded.resolve_all_asset_specs()} == set(_GRAPH)


@pytest.mark.req("P-02")
def test_the_asset_graph_is_the_expected_one(definitions: dg.Definitions) -> None:
    found = {
        spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps}
        for spec in definitions.resolve_all_asset_specs()
    }
    assert found == _GRAPH


@pytest.mark.req("A-115")
def test_every_asset_has_a_description_its_group_and_a_kind(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        assert spec.description
        layer = str(spec.group_name).partition("/")[0]
        assert layer == ("published" if spec.key.path[-1] == "published" else spec.key.path[0])
        assert spec.kinds


def test_every_asset_has_an_owner_its_tags_and_the_place_of_its_code(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        key = spec.key.to_user_string()
        assert spec.owners
        assert spec.tags["apex/layer"] == str(spec.group_name).partition("/")[0]
        grain = {"events": "source_and_day", "races": "race"}.get(key.partition("/")[0], "session")
        assert spec.tags["apex/one_partition_is"] == ("all_sessions" if key in _UNPARTITIONED else grain)
        # Nothing of ours makes the raw files.
        assert ("dagster/code_references" in spec.metadata) == (key not in _OBSERVED)
        assert "filesystem" in spec.kinds or key == "raw/files"


def test_the_kinds_name_the_store_of_the_lake() -> None:
    in_s3 = build_definitions(load_settings(use_s3_data=True))
    assert all("s3" in spec.kinds for spec in in_s3.resolve_all_asset_specs() if spec.key.path[0] != "raw")


def test_every_column_of_a_session_table_says_what_it_is_made_from(definitions: dg.Definitions) -> None:
    """Each origin is a column of the raw files, or of a table that the asset depends on, or of the same step."""
    for spec in definitions.resolve_all_asset_specs():
        if spec.key.path[0] != "tables":
            continue
        lineage: dg.TableColumnLineage = spec.metadata["dagster/column_lineage"]
        assert list(lineage.deps_by_column) == _TABLES[spec.key.path[-1]].schema.names
        for origin in (dep for deps in lineage.deps_by_column.values() for dep in deps):
            if origin.asset_key.path[0] != "raw":
                assert origin.column_name in _TABLES[origin.asset_key.path[-1]].schema.names
                assert origin.asset_key in {dep.asset_key for dep in spec.deps}


def test_the_groups_follow_each_other_in_the_direction_of_the_data(definitions: dg.Definitions) -> None:
    group_of = {spec.key: spec.group_name for spec in definitions.resolve_all_asset_specs()}
    assert set(group_of.values()) == set(_GROUPS)
    for spec in definitions.resolve_all_asset_specs():
        for dep in spec.deps:
            assert _GROUPS.index(str(group_of[dep.asset_key])) <= _GROUPS.index(str(spec.group_name))


def test_no_partitioned_asset_depends_on_an_unpartitioned_one(definitions: dg.Definitions) -> None:
    """Otherwise a backfill over named partitions would leave out everything behind the unpartitioned one."""
    for asset in _GRAPH.keys() - _UNPARTITIONED:
        assert not _GRAPH[asset] & _UNPARTITIONED
    graph = definitions.get_repository_def().asset_graph
    for asset in _GRAPH.keys() - _UNPARTITIONED:
        node = graph.get(dg.AssetKey(asset.split("/")))
        for mapping in node.partition_mappings.values():
            assert isinstance(mapping, dg.IdentityPartitionMapping)


def test_every_step_has_a_code_version(definitions: dg.Definitions) -> None:
    versions = {spec.key.to_user_string(): spec.code_version for spec in definitions.resolve_all_asset_specs()}
    assert {asset for asset, version in versions.items() if not version} == _OBSERVED
    assert versions["tables/laps"] == GrCup.derivation_version


@pytest.mark.req("A-115")
def test_every_resource_and_job_has_a_description(definitions: dg.Definitions) -> None:
    resources = definitions.get_repository_def().get_top_level_resources()
    described = {name: resource.description for name, resource in resources.items()}
    described |= {job.name: definitions.resolve_job_def(job.name).description for job in _JOBS}
    assert len(described) > len(_JOBS)
    assert [name for name, description in described.items() if not description] == []


def test_every_table_asset_shows_its_columns_before_the_first_run(definitions: dg.Definitions) -> None:
    specs = {tuple(spec.key.path): spec for spec in definitions.resolve_all_asset_specs()}
    for table in _TABLES.values():
        columns = specs[table.asset_key].metadata["dagster/column_schema"].columns  # type: ignore[union-attr]  -- a table schema
        assert [column.name for column in columns] == [column.name for column in table.columns]


@pytest.mark.req("P-09")
def test_a_partition_is_a_session_a_race_or_a_day_of_events(definitions: dg.Definitions) -> None:
    apart = {"events": "event_days", "races": "races"}
    for spec in definitions.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        expected = None if name in _UNPARTITIONED else apart.get(name.partition("/")[0], "sessions")
        assert getattr(spec.partitions_def, "name", None) == expected


def test_every_published_table_has_a_blocking_schema_check(definitions: dg.Definitions) -> None:
    checks = [
        spec
        for asset in definitions.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.check_specs
    ]
    blocking = {tuple(spec.asset_key.path) for spec in checks if spec.name == "matches_schema" and spec.blocking}
    assert blocking == {table.asset_key for table in _TABLES.values()}
    for spec in checks:
        assert (spec.partitions_def is not None) == (spec.asset_key.path[0] in {"tables", "events"})
    is_blocking = {f"{spec.asset_key.path[-1]}.{spec.name}": spec.blocking for spec in checks}
    assert is_blocking["laps.laps_do_not_overlap"]
    assert is_blocking["laps.official_laps_complete"]
    assert is_blocking["telemetry.every_reading_accounted_for"]
    assert not is_blocking["laps.most_laps_are_valid"]
    assert not is_blocking["laps.has_rows"]
    assert not is_blocking["quality.telemetry_without_holes"]


def test_the_checks_of_a_session_are_part_of_the_steps_that_make_its_tables(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def(SESSION_JOB)
    assert {node.name for node in job.nodes} == {
        "lake__files",
        "lake__session",
        "official_timing",
        "laps",
        "telemetry",
        "quality",
        "lake__published",
    }


def test_the_jobs_cover_every_materializable_asset(definitions: dg.Definitions) -> None:
    covered = {
        key.to_user_string()
        for job in _JOBS
        for key in definitions.resolve_job_def(job.name).asset_layer.executable_asset_keys
    }
    assert covered == set(_GRAPH) - _OBSERVED


def test_resources_can_be_replaced() -> None:
    lake = LakeResource.from_settings(load_settings(lake_dir=Path("elsewhere")))
    replaced = build_definitions(load_settings(), {"lake": lake}).resources or {}
    assert replaced["lake"] == lake


@pytest.mark.req("A-006", "P-03")
def test_no_secret_is_a_field_of_a_resource() -> None:
    settings = load_settings(aws_access_key_id="AKIA-shown", aws_secret_access_key="hidden-secret")  # noqa: S106  -- not a real key
    fields = repr(list((build_definitions(settings).resources or {}).values()))
    assert "hidden-secret" not in fields


def test_workspace_and_dg_use_the_same_location_name() -> None:
    pyproject = tomllib.loads((_PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    workspace = yaml.safe_load((_PROJECT / "workspace.yaml").read_text(encoding="utf-8"))
    location = workspace["load_from"][0]["python_module"]
    assert location["location_name"] == pyproject["tool"]["dg"]["project"]["code_location_name"]
    assert location["module_name"] == pyproject["tool"]["dg"]["project"]["code_location_target_module"]


@pytest.mark.req("A-003")
def test_importing_the_package_needs_no_variables_and_opens_no_connection() -> None:
    program = (
        "import socket\n"
        "def refuse(*_): raise AssertionError('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "import apex_pipeline.definitions, apex_pipeline.catalog, apex_pipeline.cli\n"
    )
    assert _run_alone(program, "-W", "error") == (0, "")


def test_importing_sync_and_cli_does_not_import_dagster() -> None:
    program = "import sys, apex_pipeline.orchestration.sync, apex_pipeline.cli; assert 'dagster' not in sys.modules"
    assert _run_alone(program) == (0, "")


@pytest.mark.req("P-03")
def test_assets_do_not_depend_on_the_storage_backend() -> None:
    """The backend is selected in one place, which is not in the assets."""
    for file in sorted((_PROJECT / "apex_pipeline" / "orchestration" / "assets").glob("*.py")):
        names = {
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Name | ast.Attribute)
        }
        assert not names & {"use_s3_data", "S3Store", "LocalStore", "boto3"}, file.name


def test_importing_the_catalog_loads_no_heavy_dependency() -> None:
    program = (
        "import sys, apex_pipeline.catalog; "
        "assert not {'dagster', 'numba', 'scipy', 'boto3'} & set(sys.modules), sorted(sys.modules)"
    )
    assert _run_alone(program) == (0, "")


def test_opening_the_runner_of_a_sync_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """What is refused here is what a sync of a folder loaded before: the S3 client, the demo, lexers of web pages."""
    program = (
        "import sys, apex_pipeline.cli, apex_pipeline.cli.pipeline\n"
        "from apex_pipeline.orchestration.command_sync import _open_runner\n"
        "from apex_pipeline.settings import load_settings\n"
        f"with _open_runner(load_settings(dagster_home={str(tmp_path / 'home')!r})):\n"
        "    pass\n"
        "refused = {'boto3', 'botocore', 'scipy', 'numba', 'apex_pipeline.demo.simulation', 'pygments.lexers.web'}\n"
        "assert not refused & set(sys.modules), refused & set(sys.modules)\n"
    )
    assert _run_alone(program) == (0, "")


def test_no_process_loads_scipy() -> None:
    """Numba loads it where it is installed, as it is here, for functions that nothing uses; numba comes first here."""
    program = (
        "import sys, pkgutil, importlib, importlib.util, apex_pipeline\n"
        "from apex_pipeline.sources.gr_cup.telemetry.compile import compile_loops\n"
        "compile_loops()\n"
        "for module in pkgutil.walk_packages(apex_pipeline.__path__, 'apex_pipeline.'):\n"
        "    if not module.name.endswith('__main__') and '.migrations.' not in module.name:\n"
        "        importlib.import_module(module.name)\n"
        "assert importlib.util.find_spec('scipy')\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'scipy']"
    )
    code, said = _run_alone(program)
    assert code == 0, said


def test_no_module_imports_scipy_later() -> None:
    for file in sorted((_PROJECT / "apex_pipeline").rglob("*.py")):
        imported = {
            name.partition(".")[0]
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        }
        assert "scipy" not in imported, file.name
