"""Defines the limits within which a recording is read; one that exceeds a limit is refused, not cut."""

from dataclasses import dataclass

_MB = 1_000_000


@dataclass(frozen=True)
class RecordingLimits:
    """Limits on one recording.

    Attributes:
        compressed_bytes: Size as uploaded. The noisiest hour at 60 Hz has 140 MB.
        inflated_bytes: Size decompressed. An hour at 60 Hz has 352 MB, so this is six hours.
        ratio: Decompressed size divided by compressed size. A car that stands still all the time reaches 100.
        ratio_from_bytes: Decompressed size up to which the ratio does not matter, because so little is harmless.
        shortest_datagram: Bytes of the header that every packet of the protocol starts with.
        longest_datagram: The protocol's own maximum.
        changes: Entries in each list of things that change a few times a lap (state, lap times, pit stops); a field
            of 32 cars has 100,000 in six hours, and each takes 1 kB until the tables are made.
        runs: Runs of the driver's lap clock; six hours of the shortest karting track have 700.
    """

    compressed_bytes: int = 256 * _MB
    inflated_bytes: int = 2 * 1024**3
    ratio: int = 500
    ratio_from_bytes: int = 64 * _MB
    shortest_datagram: int = 12
    longest_datagram: int = 1500
    changes: int = 150_000
    runs: int = 10_000


DEFAULT_LIMITS = RecordingLimits()
