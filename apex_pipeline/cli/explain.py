"""``apex explain FILE``: what a file is taken for, and why."""

from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.console import console
from apex_pipeline.errors import SourceError
from apex_pipeline.lake.source_folder import SourceFile, SourceFolder, identify
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.gr_cup.naming import explain

# Race files lie one to three folders deep; more of the path says nothing about track or session.
_FOLDERS_THAT_SPEAK = 3


def explain_command(
    file: Annotated[Path, typer.Argument(help="A raw file in its place, so that its folders can speak too.")],
) -> None:
    """Print what a file is taken for, by which rule, on what evidence, and how sure that is."""
    if not file.is_file():
        raise SourceError(f"{file} is not a file.", "Name a raw file; folders are what `apex sync` takes.")
    settings = load_settings()
    folder = _neighbourhood(file.resolve(), settings.source_dir.resolve())
    identities = {item.path: item for item in identify(folder, settings)}
    wanted = file.resolve().relative_to(folder.root).as_posix()
    console().print(explain(identities[wanted]), markup=False, highlight=False, soft_wrap=True)


def _neighbourhood(file: Path, source: Path) -> SourceFolder:
    """Return the file with its siblings and cousins: what it is can depend on them (a copy of another race's file)."""
    parents = list(file.parents)
    root = source if file.is_relative_to(source) else parents[min(_FOLDERS_THAT_SPEAK, len(parents) - 1)]
    around = {file, *file.parent.glob("*")}
    if file.parent not in (root, Path.home()):
        around |= set(file.parent.parent.glob("*/*"))
    files = [_source_file(path, root) for path in sorted(around) if path.is_file()]
    return SourceFolder(root, tuple(files), ())


def _source_file(path: Path, root: Path) -> SourceFile:
    status = path.stat()
    return SourceFile(path.relative_to(root).as_posix(), path, status.st_size, status.st_mtime_ns)


__all__ = ["explain_command"]
