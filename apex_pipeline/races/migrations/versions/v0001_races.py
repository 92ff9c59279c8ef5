"""Creates the tables of races, laps and the outbox."""

import sqlalchemy as sa
from alembic import op

from apex_pipeline.races.models import STATUS, UUID, UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "races",
        sa.Column("race_id", UUID, primary_key=True),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.Column("status", STATUS, nullable=False),
        sa.Column("raw_data_path", sa.Text, nullable=False),
        sa.Column("error_class", sa.String(64)),
        sa.Column("error", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("progress", sa.String(64)),
        sa.Column("sha256", sa.String(64), nullable=False, index=True),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("unique_sha256", sa.String(64), unique=True),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("attempts_limit", sa.Integer, nullable=False),
        sa.Column("heartbeat_at", UtcTime),
        sa.Column("dispatched_at", UtcTime),
        sa.Column("deleted_at", UtcTime),
        sa.Column("parser_version", sa.String(32)),
        sa.Column("published_attempt", sa.Integer, nullable=False),
        sa.Column("reported_attempt", sa.Integer, nullable=False),
    )
    op.create_index("ix_races_created_at", "races", ["created_at"])
    op.create_index("ix_races_status", "races", ["status", "dispatched_at"])
    _create_dependent_tables()


def _create_dependent_tables() -> None:
    op.create_table(
        "laps",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("lap_uuid", UUID, nullable=False, unique=True),
        sa.Column("race_id", UUID, sa.ForeignKey("races.race_id", ondelete="CASCADE"), nullable=False),
        sa.Column("lap_number", sa.Integer, nullable=False),
        sa.Column("lap_index", sa.Integer, nullable=False),
        sa.Column("raw_data_path", sa.Text),
        sa.Column("processed_data_path", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("is_valid", sa.Boolean, nullable=False),
        sa.Column("lap_time_s", sa.Float),
        sa.UniqueConstraint("race_id", "lap_number"),
    )
    op.create_table(
        "race_outbox",
        sa.Column("race_id", UUID, sa.ForeignKey("races.race_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("created_at", UtcTime, nullable=False),
    )


def downgrade() -> None:
    """Remove the tables."""
    for table in ("race_outbox", "laps", "races"):
        op.drop_table(table)
