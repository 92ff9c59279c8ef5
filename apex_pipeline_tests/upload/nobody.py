"""A watcher for tests that look at the outcome only."""

from apex_pipeline.upload.folder import Watcher
from apex_pipeline.upload.report import UploadedFile


class Nobody(Watcher):
    """Hears and says nothing."""

    def begin(self, files: int, size: int) -> None:
        pass

    def moved(self, count: int) -> None:
        pass

    def finished(self, number: int, total: int, file: UploadedFile) -> None:
        pass
