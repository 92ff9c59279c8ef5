"""Implements ``apex explain``; see sources/gr_cup/discovery/identify.py for the rules it reports."""

from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.emit import print_line
from apex_pipeline.errors import SourceError
from apex_pipeline.ingest.source_folder import LocalFile, SourceFolder, identify
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.explain import explain_identity

# Race files are one to three folders deep; names of folders above that do not indicate a track or session.
_HINT_FOLDERS = 3


def explain_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A raw file in its original folder: folder names are evidence too.")
    ],
) -> None:
    """Print how a file is identified: the rule, the evidence and the confidence."""
    if not file.is_file():
        raise SourceError(f"{file} is not a file.", "Give the path of a raw file; `apex sync` takes a folder.")
    settings = load_settings()
    folder = _with_siblings(file.resolve(), settings.source_dir.resolve())
    identities = {item.path: item for item in identify(folder, settings)}
    wanted = file.resolve().relative_to(folder.root).as_posix()
    print_line(explain_identity(identities[wanted]))


def _with_siblings(file: Path, source: Path) -> SourceFolder:
    """Return the file, its siblings and the files in sibling folders; it may be a copy of one of them."""
    parents = list(file.parents)
    root = source if file.is_relative_to(source) else parents[min(_HINT_FOLDERS, len(parents) - 1)]
    nearby = {file, *file.parent.glob("*")}
    if file.parent not in (root, Path.home()):
        nearby |= set(file.parent.parent.glob("*/*"))
    files = [_source_file(path, root) for path in sorted(nearby) if path.is_file()]
    return SourceFolder(root, tuple(files), ())


def _source_file(path: Path, root: Path) -> LocalFile:
    status = path.stat()
    return LocalFile(path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns, path)
