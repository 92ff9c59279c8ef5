"""How much memory is free, by what the kernel says about the machine and the containers."""

from pathlib import Path

import pytest

from apex_pipeline.process.memory import free_memory

_GIB = 2**30


def _machine(folder: Path, free_kib: int, groups: str) -> Path:
    proc = folder / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {free_kib} kB\n")
    (proc / "self" / "cgroup").write_text(groups)
    return proc


def _group(folder: Path, names: tuple[str, str, str], limit: str, used: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\n")


_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def test_without_a_container_it_is_what_the_machine_has_available(tmp_path: Path) -> None:
    assert free_memory(_machine(tmp_path, 8 * 2**20, "0::/\n"), tmp_path / "cgroup") == 8 * _GIB


@pytest.mark.parametrize(
    ("groups", "place", "names"),
    [
        ("0::/app/run\n", "app/run", _V2),
        ("0::/app/run\n", "app", _V2),
        ("0::/app\n", ".", _V2),
        ("4:memory:/app\n", "memory/app", _V1),
    ],
    ids=["own group", "group around it", "inside a container", "version 1"],
)
def test_a_container_leaves_its_limit_minus_what_is_used_but_not_the_cache_of_files(
    tmp_path: Path, groups: str, place: str, names: tuple[str, str, str]
) -> None:
    proc = _machine(tmp_path, 64 * 2**20, groups)
    _group(tmp_path / "cgroup" / place, names, str(8 * _GIB), 3 * _GIB, 1 * _GIB)
    assert free_memory(proc, tmp_path / "cgroup") == 6 * _GIB


def test_a_container_without_a_limit_has_what_the_machine_has(tmp_path: Path) -> None:
    proc = _machine(tmp_path, 8 * 2**20, "0::/app\n3:cpu:/\n")
    _group(tmp_path / "cgroup" / "app", _V2, "max", 3 * _GIB, 0)
    assert free_memory(proc, tmp_path / "cgroup") == 8 * _GIB


def test_a_container_that_is_full_has_nothing(tmp_path: Path) -> None:
    proc = _machine(tmp_path, 8 * 2**20, "0::/app\n")
    _group(tmp_path / "cgroup" / "app", _V2, "1000", 1200, 0)
    assert free_memory(proc, tmp_path / "cgroup") == 0


def test_a_system_that_does_not_tell_gives_nothing(tmp_path: Path) -> None:
    assert free_memory(tmp_path / "proc", tmp_path / "cgroup") is None
