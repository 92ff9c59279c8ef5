"""The commands of all pages: each is run as printed, or is on a closed list with the reason why no test can run it.

In the prose, a name alone (`apex sync`) is a reference and has to exist; one with arguments is a command. README,
AWS_SETUP_GUIDE, docs/query.md and docs/races.md have tests of their own for their blocks, on what they themselves make.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.cli import main
from apex_pipeline.cli.app import load_command
from apex_pipeline.cli.commands import PANELS
from apex_pipeline.orchestration.sync import SyncOutcome

_PROJECT = Path(__file__).resolve().parents[1]
_PAGES = [
    *sorted((_PROJECT / "docs").glob("*.md")),
    *(_PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
]
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_PROGRAMS = r"apex|make|python3?|dagster[a-z-]*|docker|kubectl|helm|pip|pytest|curl"
_SPAN = re.compile(rf"`((?:{_PROGRAMS}) [^`]+)`")
# Their blocks: the tests that run them.
_WITH_OWN_TESTS = {
    "README.md": "test_readme.py",
    "query.md": "cli/test_questions.py",
    "http.md": "api/lake/test_page.py",
    "races.md": "e2e/test_race_service.py",
    "for-engineers.md": "cli/test_guides.py",
    "for-back-ends.md": "api/lake/test_back_end_page.py",
    "for-operators.md": "cli/test_guides.py",
    "exports.md": "cli/test_guides.py",
}
# Placeholders, and paths of another machine: what stands for them here.
_STAND_INS = {
    "FILE, SESSION or TRACK": "mesa_verde_raceway/R2 --dry-run",
    " [SESSION …]": "",
    "TRACK SESSION": "harbor r2",
    "FILE": "demo-weekend/harbor_street_circuit/R2_harbor_lap_end.csv",
    "TARGET": "migrated",
    "SOURCE": "demo-weekend",
    "BUCKET": "my-races",
    "COMMAND": "laps",
    "/path/to/files": "demo-weekend",
    "/var/spool/events/done": "done",
}
# What no test can run as printed, by how it starts, and why.
_NOT_RUN = {
    "apex events ship ": "it needs the bucket of events: events/test_cli.py",
    "apex events watch ": "it runs until it is stopped: events/test_watch.py",
    "apex events records --day": "it needs the bucket of events: cli/test_event_records.py",
    "apex race upload FILE": "it needs a race: cli/test_race.py",
    "apex sync s3://bucket/prefix": "it needs a bucket: e2e/test_source_bucket.py",
    "apex serve": "it serves until it is stopped: cli/test_serve.py",
    "apex laps … | head": "a pipe: cli/test_pipes.py",
    "docker ": "it needs Docker: test_compose.py and test_deploy.py run each service's command as a process",
    "kubectl ": "it needs a cluster: test_helm.py validates what is applied",
    "helm ": "it needs a cluster: test_helm.py validates what is applied",
    "pip install": "it needs the package index: `make readers` installs the wheel",
    "make ": "it runs the tests, or needs the package index; the target has to exist",
    "pytest -m soak ": "it is a long test itself; the file has to exist",
    "python -m benchmarks.": "it takes minutes to hours; the module has to exist",
    "python benchmarks/": "it takes minutes to hours; the file has to exist",
    "python3 deploy/compose/make_env.py": "it writes passwords into the checkout: test_compose.py runs a copy",
    "dagster": "a service that runs until it is stopped: orchestration/services.py and celery_cluster.py start each",
    "mkdir -p .dagster": "the start of the website below",
    'echo "telemetry: {enabled: false}"': "the start of the website below",
    "APEX_WEB_PASSWORD=": "a service that runs until it is stopped: test_web.py and test_deploy.py start it",
}
_COMMANDS = {command.name: command for panel in PANELS.values() for command in panel}


def _printed() -> Iterator[tuple[str, str]]:
    """Yield page and text of each line of a block, and of each command in the prose."""
    for page in _PAGES:
        text = page.read_text(encoding="utf-8")
        for kind, block in () if page.name in _WITH_OWN_TESTS else _FENCE.findall(text):
            lines = [line.partition("  #")[0].strip() for line in block.splitlines()]
            if block.startswith("$ "):  # the other lines are what a command prints
                lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            yield from ((page.name, line) for line in lines if kind in {"sh", "console"} or line.startswith("apex "))
        if page.name not in _WITH_OWN_TESTS or page.name in {"README.md", "http.md"}:  # theirs run the blocks only
            yield from ((page.name, span) for span in _SPAN.findall(_FENCE.sub("", text)))


_ALL = list(dict.fromkeys(_printed()))


def _is_name(text: str) -> bool:
    """Return whether a text only names a command, or a command of a group."""
    words = text.split()
    named = _COMMANDS.get(words[1]) if words[0] == "apex" else None
    if named is None:
        return text.startswith("python -m apex_pipeline") or words == ["docker", "compose"]
    return len(words) == 2 or (len(words) == 3 and words[2] in getattr(load_command(named), "commands", {}))


_NAMES = list(dict.fromkeys(text for _, text in _ALL if _is_name(text)))
_LEFT_OUT = {text: start for _, text in _ALL for start in _NOT_RUN if text not in _NAMES and text.startswith(start)}
_RUN = list(dict.fromkeys(text for _, text in _ALL if text not in _NAMES and text not in _LEFT_OUT))


def test_whatever_is_printed_is_run_or_has_a_reason_and_no_reason_is_left_over() -> None:
    assert [text for text in _RUN if not text.startswith("apex ")] == []
    assert set(_LEFT_OUT.values()) == set(_NOT_RUN)
    assert len(_RUN) > 15
    tests = [*_WITH_OWN_TESTS.values(), *re.findall(r"[\w/]+\.py", " ".join(_NOT_RUN.values()))]
    assert [name for name in tests if not next((_PROJECT / "apex_pipeline_tests").glob(f"**/{name}"), None)] == []


def test_what_a_command_that_is_not_run_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (_PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert {text.split()[1] for text in _LEFT_OUT if text.startswith("make ")} <= targets
    paths = [
        path for text in _LEFT_OUT for path in re.findall(r"\b(?:apex_pipeline_tests|benchmarks|deploy)/[\w./-]+", text)
    ]
    modules = [f"{name.replace('.', '/')}.py" for text in _LEFT_OUT for name in re.findall(r"\bbenchmarks\.\w+", text)]
    assert len(modules) > 3
    assert [path for path in [*paths, *modules] if not (_PROJECT / path).exists()] == []


@pytest.mark.parametrize("text", _NAMES)
def test_a_command_that_is_named_exists(text: str) -> None:
    words = shlex.split(text)
    if words[0] == "apex":
        assert load_command(_COMMANDS[words[1]])
    elif words[0] == "python":
        module = words[2].replace(".", "/")
        assert (_PROJECT / f"{module}.py").exists() or (_PROJECT / module / "__main__.py").exists()


@pytest.fixture(scope="module")
def folder(demo_folder: tuple[Path, SyncOutcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weekend and the lake of `apex demo`, and delivered event files of a day."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("demo-weekend", "lake"):
        shutil.copytree(demo_folder[0] / name, folder / name)
    shutil.copy(demo_folder[0] / "demo-weekend.answers.json", folder)
    (folder / "data").symlink_to("demo-weekend")
    (folder / "demo-lake").symlink_to("lake")
    day = folder / "done/2025/07/29"
    day.mkdir(parents=True)
    (day / "20250729_161500.xml").write_bytes(b"<EVENTS><EVENT><N>1</N></EVENT></EVENTS>")
    return folder


@pytest.mark.slow  # a sync and two migrations of four sessions
@pytest.mark.parametrize("text", _RUN)
def test_a_command_works_as_printed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.chdir(folder)
    present = {"SNAPSHOT": open_catalog("lake").snapshot.id, "TIME": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    for name, value in {**_STAND_INS, **present}.items():
        text = text.replace(name, value)
    if text.startswith("apex init "):  # what it writes would be the settings of the others
        (folder / "new").mkdir()
        monkeypatch.chdir(folder / "new")
    monkeypatch.setattr("sys.argv", shlex.split(text))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code or 0) == 0, printed.out + printed.err
    assert printed.out.strip()
