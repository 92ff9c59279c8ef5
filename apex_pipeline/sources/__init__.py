"""Contains the list of sources: the kinds of race data this project understands.

A source is a package with one object that implements ``sources/base.py``. Outside its own package and its assets, a
source is named only in this list.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from apex_pipeline.errors import ApexError, ConfigurationError, PermanentError
from apex_pipeline.settings import Settings
from apex_pipeline.sources.base import UNKNOWN_KIND, FileIdentity, FileStatus, FoundFile, Source, tables_of
from apex_pipeline.sources.raw_access import RawFileAccess
from apex_pipeline.tables import CATALOG_TABLES
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import session_key

# Dagster makes names of assets and operations from these.
_NAME = re.compile(r"[a-z][a-z0-9_]*")

_registered: list[Source] = []


def all_sources() -> tuple[Source, ...]:
    """Return every source, the built-in ones first."""
    from apex_pipeline.sources.gr_cup.source import GrCup  # noqa: PLC0415  -- only commands that read race files need it

    return (GrCup(), *_registered)


def register(source: Source) -> None:
    """Register a source from another package, for this process only.

    Raises:
        ConfigurationError: Its name, or the name of one of its tables, is taken.
    """
    names = [source.name, *{table.name for table in tables_of(source)} - {source.name}]
    if not all(_NAME.fullmatch(name) for name in names) or len(tables_of(source)) > len(set(tables_of(source))):
        raise ConfigurationError(
            f"The source {source.name!r} cannot be registered: a name is invalid or a table is listed twice.",
            "Use lower-case letters, digits and underscores, and list every table once.",
        )
    taken = set(names) & (all_tables().keys() | {known.name for known in all_sources()})
    if taken:
        raise ConfigurationError(
            f"The source {source.name} cannot be registered: {', '.join(sorted(taken))} exists already.",
            "Give the source and its tables names of their own.",
        )
    _registered.append(source)


def source_named(name: str) -> Source:
    """Return the source with this name.

    Raises:
        ConfigurationError: This installation has no such source.
    """
    sources = all_sources()
    for source in sources:
        if source.name == name:
            return source
    raise ConfigurationError(
        f"There is no source {name!r}; the sources are: {', '.join(source.name for source in sources)}.",
        "Install the package that provides it, or use the version of apex_pipeline that wrote this lake.",
    )


def sources_named(names: Collection[str]) -> tuple[Source, ...]:
    """Return the sources with these names.

    Args:
        names: The names; none, as in lakes written before there were several sources, stands for the first source.

    Raises:
        ConfigurationError: This installation lacks one of them.
    """
    return tuple(source_named(name) for name in names) or all_sources()[:1]


def are_installed(names: Iterable[str]) -> bool:
    """Return whether this installation has all sources with these names."""
    return set(names) <= {source.name for source in all_sources()}


def loadable_source() -> tuple[Source, RawFileAccess]:
    """Return the source whose raw files applications load by track and session, and its access to them."""
    return next((source, source.raw_access) for source in all_sources() if source.raw_access is not None)


def session_tables(sources: Iterable[Source] | None = None) -> tuple[Table, ...]:
    """Return the tables that a session of these sources may have; of all sources where none are given."""
    return tuple(table for source in sources or all_sources() for table in tables_of(source))


def all_tables() -> dict[str, Table]:
    """Return every published table by name: session tables first, then catalog tables."""
    return {table.name: table for table in (*session_tables(), *CATALOG_TABLES)}


def kinds_feeding(*tables: str) -> frozenset[str]:
    """Return the kinds of raw file, from all sources, that contribute rows to any of these tables."""
    return frozenset(kind for source in all_sources() for name in tables for kind in source.table_inputs.get(name, ()))


def exclusive_kinds() -> frozenset[str]:
    """Return the kinds of raw file, of all sources, of which a session has only one."""
    return frozenset(str(kind) for source in all_sources() for kind in source.exclusive_kinds)


def scopes_of(folders: Collection[str], settings: Settings) -> set[str]:
    """Return the folders whose files have to be identified together with those of one of these folders."""
    scopes: set[str] = set()
    for source in all_sources() if folders else ():
        rules = source.load_rules(settings)
        scopes |= {source.scope_of(folder, rules) for folder in folders}
    return scopes


def rules_version(settings: Settings) -> str:
    """Return a hash of the rules by which all sources recognise their files."""
    versions = [source.rules_version(settings) for source in all_sources()]
    return versions[0] if len(versions) == 1 else hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]


def identify_files(files: Iterable[FoundFile], settings: Settings) -> list[FileIdentity]:
    """Return one identity per file, sorted by path.

    Args:
        files: The files of one source folder, or of one lake.
        settings: Settings, for the user's own rules.

    Raises:
        ConfigurationError: The user's own rules cannot be read.
    """
    found = sorted(files, key=lambda file: file.path)
    identities: defaultdict[str, list[FileIdentity]] = defaultdict(list)
    for source in all_sources():
        # Of one source, the last identity of a path counts.
        for path, identity in {item.path: item for item in _identified_by(source, found, settings)}.items():
            identities[path].append(identity)
    return [_with_valid_key(_choose(file, identities[file.path])) for file in found]


def _identified_by(source: Source, found: Sequence[FoundFile], settings: Settings) -> list[FileIdentity]:
    # A source gets back only what it noted itself.
    note = f"{source.name}:"
    own = [
        replace(file, observation=file.observation.removeprefix(note) if file.observation.startswith(note) else "")
        for file in found
    ]
    try:
        identities = source.identify(own, source.load_rules(settings))
        return [replace(item, observation=note + item.observation if item.observation else "") for item in identities]
    except ApexError:
        raise
    except Exception as error:
        raise PermanentError(
            f"The source {source.name} failed to identify files: {type(error).__name__}: {error}.",
            "This is a defect of the source; report it, or run without that source.",
        ) from error


def _choose(file: FoundFile, identities: Sequence[FileIdentity]) -> FileIdentity:
    """Return the identity from the only source that can use a file; a file that several can use stays unresolved."""
    recognised = [identity for identity in identities if identity.source]
    usable = [identity for identity in recognised if identity.status is FileStatus.READY] or recognised
    if len(usable) > 1:
        names = " and ".join(identity.source for identity in usable)
        return replace(usable[0], source="", status=FileStatus.UNRESOLVED, reason=f"{names} both recognise it")
    return (usable or [*identities, _unknown(file)])[0]


def _with_valid_key(identity: FileIdentity) -> FileIdentity:
    """Return the identity; a file whose track or session cannot be part of a key belongs to no session."""
    if identity.session is None:
        return identity
    try:
        session_key(identity.track or "", identity.session)
    except ConfigurationError as error:
        if identity.status is not FileStatus.READY:
            return replace(identity, session=None)
        return replace(identity, session=None, status=FileStatus.UNRESOLVED, reason=error.problem)
    return identity


def _unknown(file: FoundFile) -> FileIdentity:
    return FileIdentity(
        path=file.path,
        size=file.size,
        kind=UNKNOWN_KIND,
        track=None,
        track_name=None,
        session=None,
        season=None,
        event_code=None,
        version=None,
        rule="none",
        evidence=(),
        confidence=0.0,
        status=FileStatus.UNRESOLVED,
        reason="no source recognises it",
    )
