"""Defines the tables of the races' database; ``migrations/`` creates them."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import DateTime, Dialect, Enum, ForeignKey, Index, String, Text, TypeDecorator, UniqueConstraint, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Attempts at a race before it counts as failed: a worker that dies three times at one race dies of it.
MOST_ATTEMPTS: Final = 3


class RaceStatus(StrEnum):
    """What the owner of a race is told about it; stored as these words."""

    PROCESSING = "Processing"
    READY = "Ready"
    FAILED = "Failed"


class UtcTime(TypeDecorator[datetime]):
    """A time with zone, also in SQLite, which has no zones: there it is kept in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value for the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value from the database, in UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite would keep a UUID without its dashes, and people could not find what the API calls it.
UUID: Final[Any] = Uuid(as_uuid=False).with_variant(String(36), "sqlite")
STATUS: Final = Enum(
    RaceStatus,
    name="race_status",
    native_enum=False,
    create_constraint=True,
    length=10,
    values_callable=lambda kind: [status.value for status in kind],
)


class Base(DeclarativeBase):
    """Base of the tables."""


class Race(Base):
    """One uploaded race.

    Attributes:
        race_id: UUID, given at the upload.
        created_at: Time of the upload.
        updated_at: Last change of the status.
        status: Processing, Ready or Failed.
        raw_data_path: URI of the uploaded bytes.
        error_class: Why it failed, in a few fixed words.
        error: Why it failed, as a sentence with the next step.
        detail: What is worth knowing about a race that is ready: ``truncated at byte 1200``.
        progress: What its worker is doing.
        sha256: Digest of the uploaded bytes.
        size_bytes: Their number.
        unique_sha256: The digest, unless the upload was forced: the same bytes are the same race.
        job_id: Job of the queue, or run of Dagster, that processes it.
        attempts: Attempts so far. The number is the fence: only the latest attempt may publish.
        attempts_limit: Attempts after which the race fails.
        heartbeat_at: Last sign of life of the attempt; null while nobody works on it.
        dispatched_at: When it was last put into the queue.
        deleted_at: Set while its objects are being deleted; such a race is not there for anyone.
        parser_version: Version of the parser that made the laps.
        published_attempt: Attempt whose laps are published.
        reported_attempt: Published attempt that Dagster's catalog has.
    """

    __tablename__ = "races"
    __table_args__ = (
        Index("ix_races_created_at", "created_at"),
        # The reaper looks for these every few seconds; among many races they are few.
        Index("ix_races_status", "status", "dispatched_at"),
    )

    race_id: Mapped[str] = mapped_column(UUID, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    status: Mapped[RaceStatus] = mapped_column(STATUS)
    raw_data_path: Mapped[str] = mapped_column(Text)
    error_class: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    progress: Mapped[str | None] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int]
    unique_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    job_id: Mapped[str] = mapped_column(String(36))
    attempts: Mapped[int] = mapped_column(default=0)
    attempts_limit: Mapped[int] = mapped_column(default=MOST_ATTEMPTS)
    heartbeat_at: Mapped[datetime | None] = mapped_column(UtcTime)
    dispatched_at: Mapped[datetime | None] = mapped_column(UtcTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    parser_version: Mapped[str | None] = mapped_column(String(32))
    published_attempt: Mapped[int] = mapped_column(default=0)
    reported_attempt: Mapped[int] = mapped_column(default=0)


class Lap(Base):
    """One published lap; every run of the lap clock, published or not, is in the table ``race_laps`` of the lake.

    Attributes:
        id: Number of the row; stays when the race is processed again.
        lap_uuid: Derived from race and lap index, so it stays, too.
        race_id: The race.
        lap_number: The game's number, unique within the race.
        lap_index: The lap's place among all runs of the lap clock.
        raw_data_path: Always null: a lap has no bytes of its own in the upload.
        processed_data_path: URI of its samples as a numpy array.
        kind: flying, out, in, partial or abandoned.
        is_valid: A flying lap that the game did not invalidate.
        lap_time_s: Lap time in seconds; null unless the lap was driven from line to line.
    """

    __tablename__ = "laps"
    __table_args__ = (UniqueConstraint("race_id", "lap_number"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    lap_uuid: Mapped[str] = mapped_column(UUID, unique=True)
    race_id: Mapped[str] = mapped_column(UUID, ForeignKey("races.race_id", ondelete="CASCADE"))
    lap_number: Mapped[int]
    lap_index: Mapped[int]
    raw_data_path: Mapped[str | None] = mapped_column(Text)
    processed_data_path: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    is_valid: Mapped[bool]
    lap_time_s: Mapped[float | None]


class OutboxEntry(Base):
    """A race that must be put into the queue; written with the race's row, in the same transaction.

    Attributes:
        race_id: The race.
        created_at: When it was written.
    """

    __tablename__ = "race_outbox"

    race_id: Mapped[str] = mapped_column(UUID, ForeignKey("races.race_id", ondelete="CASCADE"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
