"""What the names of a folder's car files say about the folder: is it a track, or just where somebody put things?

Official timing files name no track, and a track that the rules do not know is named by its folder. Both need to know
whether a folder such as ``downloads`` is a track. The file names in it tell. Here belongs that question only; what one
path says is ``path_claims.py``.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from apex_pipeline.sources.gr_cup.path_claims import PathHints, TrackHint
from apex_pipeline.sources.plain_names import names_match


@dataclass
class SiblingTracks:
    """The tracks that file names in and below one folder say, by slug."""

    tracks: dict[str, TrackHint] = field(default_factory=dict[str, TrackHint])

    @property
    def single_track(self) -> TrackHint | None:
        """The track, where all names say the same one."""
        return next(iter(self.tracks.values())) if len(self.tracks) == 1 else None

    def confirm(self, folder: TrackHint) -> bool:
        """Tell whether a name in the folder says its track."""
        return any(names_match(claim.slug, folder.slug) for claim in self.tracks.values())

    @property
    def names_other_tracks(self) -> bool:
        """Several tracks, or a listed one: a folder around them that no name confirms is no track."""
        return len(self.tracks) > 1 or any(claim.is_known for claim in self.tracks.values())


class FolderSiblings:
    """What file names say, by folder.

    Args:
        claims: What the path of every file of the tree says.
    """

    def __init__(self, claims: Iterable[PathHints]) -> None:
        self._by_path: defaultdict[str, SiblingTracks] = defaultdict(SiblingTracks)
        for claim in claims:
            if claim.named_track:
                for path in [folder.path for folder in claim.folders if folder.track] or [""]:
                    self._by_path[path].tracks.setdefault(claim.named_track.slug, claim.named_track)

    def siblings_of(self, claims: PathHints) -> SiblingTracks:
        """Return what names say in and below the file's own track folder, or in no such folder where it has none."""
        return self._by_path[claims.home.path if claims.home else ""]

    def track_folder(self, claims: PathHints) -> TrackHint | None:
        """Choose the folder that names an unlisted track: one that a file name confirms, else the innermost."""
        folders = [(folder.track, self._by_path[folder.path]) for folder in claims.folders if folder.track]
        confirmed = (track for track, neighbours in folders if neighbours.confirm(track))
        innermost = (track for track, neighbours in folders[:1] if not neighbours.names_other_tracks)
        return next(confirmed, None) or next(innermost, None)


__all__ = ["FolderSiblings", "SiblingTracks"]
