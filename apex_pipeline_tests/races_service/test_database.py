"""The connections of the races' database: what costs no transaction, and what a restart of the server costs."""

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import literal, select, update

from apex_pipeline.races import database as database_module
from apex_pipeline.races.database import RaceDatabase
from apex_pipeline.races.errors import DatabaseUnavailableError
from apex_pipeline.races.models import Base, Race
from apex_pipeline.races.services import RaceServices
from apex_pipeline.races.submit import submit_race
from apex_pipeline_tests.races_service.conftest import two_laps


def test_one_statement_alone_is_committed(services: RaceServices) -> None:
    race = submit_race(services, two_laps()).race_id
    services.database.execute_alone(update(Race).where(Race.race_id == race).values(progress="alone"))
    assert services.database.fetch_one(select(Race.progress, Race.race_id)) == ("alone", race)


def test_the_migrated_tables_are_those_of_the_models(services: RaceServices) -> None:
    with services.database.engine.connect() as connection:
        # SQLite has its own names for types.
        migrated = MigrationContext.configure(connection, opts={"compare_type": not services.database.is_sqlite})
        assert compare_metadata(migrated, Base.metadata) == []


def _end_connections(url: str) -> None:
    """End every connection to the database, as a restart of the server does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_connections_that_died_while_they_were_idle_are_replaced_without_an_error(
    shared_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_TRUSTED_FOR_S", 0.0)
    database = RaceDatabase(shared_postgres_url)
    for _ in range(2):
        assert database.fetch_one(select(literal(1))) == (1,)
        with database.writing() as session:
            assert session.scalar(select(literal(2))) == 2
        _end_connections(shared_postgres_url)
    database.close()


def test_of_connections_that_died_just_after_their_use_one_is_an_error_and_the_next_is_new(
    shared_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_TRUSTED_FOR_S", 60.0)
    database = RaceDatabase(shared_postgres_url)
    assert database.fetch_one(select(literal(1))) == (1,)
    _end_connections(shared_postgres_url)
    with pytest.raises(DatabaseUnavailableError):
        database.fetch_one(select(literal(1)))
    assert database.fetch_one(select(literal(1))) == (1,)
    database.close()
