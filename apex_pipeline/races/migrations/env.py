"""Runs the migrations on the connection that ``database.py`` hands over, inside its transaction."""

from alembic import context

from apex_pipeline.races.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
