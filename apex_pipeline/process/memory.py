"""How much memory is free for processes started from here: of the machine, and of the container around this process."""

from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_KIB = 1024
# Files of a container's limit and use, and the line of its statistics that says how much of it is cache of files, which
# is given up when needed: of cgroup v2 and of v1.
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def free_memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """Return the free memory in bytes, the least of machine and containers; ``None`` if it is unknown.

    Args:
        proc: Where the kernel describes machine and process.
        cgroups: Where it describes the containers.
    """
    known = [*_of_machine(proc), *_of_containers(proc, cgroups)]
    return max(0, min(known)) if known else None


def _of_machine(proc: Path) -> Iterator[int]:
    for line in _lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * _KIB


def _of_containers(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yield what is free in each group that limits this process, and in the groups around that one."""
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "memory"}:
            continue
        names = _VERSION_1 if controllers else _VERSION_2
        root = cgroups / controllers
        # Within a container the path is that on the host, and its group is at the root.
        for folder in {root, *(root / part for part in (Path(path.lstrip("/")), *Path(path.lstrip("/")).parents))}:
            yield from _of_group(folder, names)


def _of_group(folder: Path, names: tuple[str, str, str]) -> Iterator[int]:
    limit, used = (next(_lines(folder / name), "") for name in names[:2])
    if limit.isdigit() and used.isdigit():
        cache = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.startswith(f"{names[2]} ")]
        yield int(limit) - int(used) + sum(cache)


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text(encoding="ascii").splitlines()
    except OSError:
        return
