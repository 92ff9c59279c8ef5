"""Makes standard output and standard error safe to write to, whatever they are connected to.

A reader that stops early (``apex laps … | head``), a full disk and a closed stream all make a write fail, at any print
and once more when Python flushes at the end. Here standard output raises :class:`OutputError`, once. What standard
error does not take is discarded, because losing progress messages must not stop a sync; the next message is tried
again, because Dagster redirects the stream to files during a run, and their disk may be full. See ``entry_point.py``
for the resulting exit codes.
"""

import errno
import io
import os
import select
import sys
from typing import TextIO

_STDIN, _STDOUT, _STDERR = 0, 1, 2


class OutputError(Exception):
    """Standard output cannot be written to.

    Args:
        cause: The error from the operating system.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__("it is closed" if cause.errno == errno.EBADF else cause.strerror or str(cause))
        self.is_broken_pipe = cause.errno == errno.EPIPE

    @property
    def reason(self) -> str:
        """The reason, for a message."""
        return str(self.args[0])


class _SafeFile(io.FileIO):
    """A file that discards what it cannot write.

    Args:
        descriptor: Open file descriptor.
        raises: Whether the first error is raised as :class:`OutputError`, and everything after it discarded.
        owns_descriptor: Whether the descriptor is closed with this object.
    """

    def __init__(self, descriptor: int, *, raises: bool, owns_descriptor: bool = False) -> None:
        super().__init__(descriptor, "w", closefd=owns_descriptor)
        self._raises = raises
        self._is_lost = False

    def write(self, content: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  -- never None
        while not self._is_lost:
            try:
                written = super().write(content)
            except OSError as error:
                if not self._raises:
                    break
                self._is_lost = True
                raise OutputError(error) from error
            else:
                if written is not None:
                    return written
                # Another program sharing the terminal or pipe made it non-blocking: wait until there is room.
                select.select([], [self], [])
        return len(content)


def make_streams_safe() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` unless they have been replaced already, as test runners do."""
    _occupy_closed_descriptors()
    sys.stdout = _safe(sys.stdout, sys.__stdout__, _STDOUT, raises=True)
    sys.stderr = _safe(sys.stderr, sys.__stderr__, _STDERR, raises=False)


def duplicate_stderr() -> TextIO:
    """Return a stream to where standard error goes now; it stays there when file descriptor 2 is redirected."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # a test runner's stream without a descriptor
        descriptor = os.open(os.devnull, os.O_WRONLY)
    return _text(_SafeFile(descriptor, raises=False, owns_descriptor=True), sys.stderr.encoding)


def flush_output() -> None:
    """Write out what is buffered.

    Raises:
        OutputError: Standard output cannot be written to.
    """
    sys.stdout.flush()
    sys.stderr.flush()


def _occupy_closed_descriptors() -> None:
    """Open something at every closed standard descriptor, or the next file opened would get that number.

    That file could be a database, to which the next print, or Dagster's redirection of output, would write.
    """
    for descriptor in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            # Opened for reading, standard output fails at the first write; standard error may discard.
            flags = os.O_WRONLY if descriptor == _STDERR else os.O_RDONLY
            opened = os.open(os.devnull, flags)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


def _safe(stream: TextIO | None, original: TextIO | None, descriptor: int, *, raises: bool) -> TextIO:
    if stream is not None and (stream is not original or stream.fileno() != descriptor):
        return stream
    return _text(_SafeFile(descriptor, raises=raises), stream.encoding if stream else "utf-8")


def _text(raw: io.FileIO, encoding: str) -> TextIO:
    """Return a text stream that escapes what the encoding lacks, such as undecodable bytes of a file name."""
    is_line_buffered = raw.isatty() or raw.fileno() != _STDOUT
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=is_line_buffered
    )
