"""Contains the steps that bring the races' database to the present tables, run by Alembic; see ``database.py``."""
