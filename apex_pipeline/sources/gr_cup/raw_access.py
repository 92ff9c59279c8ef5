"""Gives loaders access to GR Cup files by name; see ``sources/raw_access.py`` for the protocol."""

from collections.abc import Sequence

from apex_pipeline.sources.gr_cup.discovery.path_hints import ignore_reason, parse_path
from apex_pipeline.sources.gr_cup.discovery.rules import NamingRules
from apex_pipeline.sources.gr_cup.discovery.sniff import SNIFFED_BYTES, all_columns, kinds_for_header, sniff
from apex_pipeline.sources.raw_access import FileHeader, RawFileAccess, TrackName


class GrCupFileAccess(RawFileAccess):
    """Names and headers of GR Cup files."""

    @property
    def head_bytes(self) -> int:
        """Number of bytes to read for the header and the first rows."""
        return SNIFFED_BYTES

    def tracks_in(self, path: str, rules: NamingRules) -> Sequence[TrackName] | None:
        """Return the tracks named in a path, the file name's first; ``None`` for a file that is not race data."""
        if ignore_reason(path):
            return None
        return [TrackName(hint.slug, hint.is_known) for hint in parse_path(path, rules).tracks]

    def track_slug(self, name: str, rules: NamingRules) -> str | None:
        """Return the slug of the track with this name or alias; ``None`` if the rules do not list it."""
        known = rules.track_of(name)
        return known.slug if known else None

    def name_patterns(self, kind: str, rules: NamingRules) -> Sequence[str]:
        """Return the file-name patterns of a kind."""
        return [pattern.pattern for of_kind, pattern in rules.patterns if of_kind == kind]

    def read_header(self, head: bytes, path: str) -> FileHeader:
        """Return the header of a file, given its first bytes as stored."""
        contents = sniff(head, path)
        return FileHeader(() if contents.problem else all_columns(head, path), contents.problem)

    def is_raw(self, kind: str, columns: Sequence[str]) -> bool:
        """Return whether a header is that of an original file of this kind."""
        return kind in kinds_for_header(tuple(columns))
