"""Creates the tables of races, laps and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Written out, because the models may change and this step may not.
_UUID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
_TIME = sa.DateTime(timezone=True)
_STATUS = sa.Enum(
    *("Processing", "Ready", "Failed"), name="race_status", native_enum=False, create_constraint=True, length=10
)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "races",
        sa.Column("race_id", _UUID, primary_key=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("status", _STATUS, nullable=False),
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
        sa.Column("heartbeat_at", _TIME),
        sa.Column("dispatched_at", _TIME),
        sa.Column("deleted_at", _TIME),
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
        sa.Column("lap_uuid", _UUID, nullable=False, unique=True),
        sa.Column("race_id", _UUID, sa.ForeignKey("races.race_id", ondelete="CASCADE"), nullable=False),
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
        sa.Column("race_id", _UUID, sa.ForeignKey("races.race_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("created_at", _TIME, nullable=False),
    )


def downgrade() -> None:
    """Remove the tables."""
    for table in ("race_outbox", "laps", "races"):
        op.drop_table(table)
