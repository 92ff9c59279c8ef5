"""What the names of a folder's car files say about the folder: is it a track, or just where somebody put things?

Official timing files name no track, and a track that the rules do not know is named by its folder. Both need to know
whether a folder such as ``downloads`` is a track. The file names in it tell. Here belongs that question only; what one
path says is ``path_claims.py``.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from apex_pipeline.sources.gr_cup.path_claims import PathClaims, TrackClaim
from apex_pipeline.sources.plain_names import is_related


@dataclass
class Neighbours:
    """The tracks that file names in and below one folder say, by slug."""

    tracks: dict[str, TrackClaim] = field(default_factory=dict[str, TrackClaim])

    @property
    def only_track(self) -> TrackClaim | None:
        """The track, where all names say the same one."""
        return next(iter(self.tracks.values())) if len(self.tracks) == 1 else None

    def confirm(self, folder: TrackClaim) -> bool:
        """Tell whether a name in the folder says its track."""
        return any(is_related(claim.slug, folder.slug) for claim in self.tracks.values())

    @property
    def speak_of_others(self) -> bool:
        """Several tracks, or a listed one: a folder around them that no name confirms is no track."""
        return len(self.tracks) > 1 or any(claim.is_known for claim in self.tracks.values())


class Neighbourhood:
    """What file names say, by folder.

    Args:
        claims: What the path of every file of the tree says.
    """

    def __init__(self, claims: Iterable[PathClaims]) -> None:
        self._by_path: defaultdict[str, Neighbours] = defaultdict(Neighbours)
        for claim in claims:
            if claim.named_track:
                for path in [folder.path for folder in claim.folders if folder.track] or [""]:
                    self._by_path[path].tracks.setdefault(claim.named_track.slug, claim.named_track)

    def beside(self, claims: PathClaims) -> Neighbours:
        """Return what names say in and below the file's own track folder, or in no such folder where it has none."""
        return self._by_path[claims.home.path if claims.home else ""]

    def track_folder(self, claims: PathClaims) -> TrackClaim | None:
        """Choose the folder that names an unlisted track: one that a file name confirms, else the innermost."""
        folders = [(folder.track, self._by_path[folder.path]) for folder in claims.folders if folder.track]
        confirmed = (track for track, neighbours in folders if neighbours.confirm(track))
        innermost = (track for track, neighbours in folders[:1] if not neighbours.speak_of_others)
        return next(confirmed, None) or next(innermost, None)


__all__ = ["Neighbourhood", "Neighbours"]
