"""Reads the YAML file that says what the events of each source mean: their tag, time, type, columns, personal fields.

Contains the file's form and defaults; ``records.py`` applies it. Without a file, every source has the defaults.
"""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from apex_pipeline.errors import SettingFileError
from apex_pipeline.sources.events import paths
from apex_pipeline.tables.events import RECORDS
from apex_pipeline.tables.model import Column, Table
from apex_pipeline.yaml_files import load_yaml

# Names under which the timing feeds and gateways seen so far send time and type.
_TIMES: Final = ("@time", "@timestamp", "time", "timestamp", "event_time", "TIME", "TIMESTAMP", "Time", "Timestamp")
_TYPES: Final = ("@type", "type", "event_type", "TYPE", "Type", "EVENT_TYPE")
# Raw files of sources with personal fields, and what is made of them before it is masked, lie under this prefix.
PRIVATE_PREFIX: Final = "private/"


def _parts(value: str) -> str:
    if not all(value.split("/")):
        raise ValueError(f"{value!r} is not a path; write it like BADGE/ID or BADGE/@id")
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


FieldPath = Annotated[str, AfterValidator(_parts)]
FieldPaths = Annotated[tuple[FieldPath, ...], BeforeValidator(_as_list)]


class ColumnMapping(BaseModel):
    """A flat column.

    Attributes:
        path: Where its value is in the event.
        kind: Kind of the values; one that is not of this kind is null.
        description: One sentence for the schema.
        unit: Unit in words, if it has one.
        personal: Whether it is about a person.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: FieldPath
    kind: Literal["string", "integer", "float", "boolean", "timestamp_utc"] = "string"
    description: str = ""
    unit: str = ""
    personal: bool = False


class SourceMapping(BaseModel):
    """What the events of one source mean.

    Attributes:
        event_tag: Local name of the tag of its XML events.
        event_time: Where the time of an event may be; the first that is there counts.
        event_type: Where its type may be; for XML without one, the tag.
        columns: Flat columns by name.
        personal: Fields about persons that have no column.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_tag: str = Field(default="EVENT", pattern=r"^[^\s<>/:=\"'&]+$")
    event_time: FieldPaths = _TIMES
    event_type: FieldPaths = _TYPES
    columns: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], ColumnMapping] = {}
    personal: FieldPaths = ()

    @cached_property
    def personal_paths(self) -> tuple[paths.Path, ...]:
        """Paths of everything about persons."""
        named = [column.path for column in self.columns.values() if column.personal]
        return tuple(tuple(path.split("/")) for path in (*named, *self.personal))

    @cached_property
    def table(self) -> Table:
        """The table of this source's records: the columns of all records, and its own."""
        own = [
            Column(
                name,
                column.kind,
                column.description or f"{column.path} of the event.",
                column.unit,
                is_personal=column.personal,
            )
            for name, column in self.columns.items()
        ]
        return RECORDS.with_columns(own)

    @property
    def version(self) -> str:
        """Hash of the mapping; another one means that records have to be made again."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: dict[str, SourceMapping]


def load_mapping(path: Path | None, source: str) -> SourceMapping:
    """Return the mapping of a source; the defaults without a file, or for a source that is not in it.

    Raises:
        SettingFileError: The file cannot be read, or is not a mapping.
    """
    if path is None:
        return SourceMapping()
    try:
        found = _File.model_validate(load_yaml(path))
    except (OSError, yaml.YAMLError) as error:
        raise SettingFileError(
            f"The mapping of events {path} cannot be read: {error}.", "Correct EVENTS_MAPPING_FILE or the file."
        ) from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise SettingFileError(
            f"The mapping of events {path} is not valid: {problems}.",
            "docs/events-records.md has an example of every entry.",
        ) from None
    mapping = found.sources.get(source, SourceMapping())
    taken = sorted(set(mapping.columns) & {column.name for column in RECORDS.columns})
    if taken:
        raise SettingFileError(
            f"The mapping of events {path} has columns that every record has: {', '.join(taken)}.",
            "Give them other names.",
        )
    return mapping
