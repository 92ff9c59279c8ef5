"""Defines the error of a recording that gives no lap, with the class by which people and programs tell the reasons."""

from apex_pipeline.errors import MalformedFileError


class RecordingError(MalformedFileError):
    """Nothing usable came out of a recording.

    Args:
        error_class: Two or three words for the reason, one of a few, for example ``not base64``.
        problem: What is wrong, as a sentence.
        hint: The reader's next step.
    """

    def __init__(self, error_class: str, problem: str, hint: str) -> None:
        super().__init__(problem, hint)
        self.error_class = error_class

    def __reduce__(self) -> tuple[type["RecordingError"], tuple[str, str, str]]:  # type: ignore[override]  # one more argument than its base
        """Pickle with the class, because workers send errors back to their parent."""
        return (type(self), (self.error_class, self.problem, self.hint))
