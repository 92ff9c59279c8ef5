"""Starts ``apex race`` without loading what only it needs: the database library alone takes 0.8 s to import."""

import typer


def race_command(context: typer.Context) -> None:
    """AMS2 races: upload, status, list, worker, reprocess, migrate."""
    from apex_pipeline.cli.race import race_app  # noqa: PLC0415  -- see above

    race_app(context.args, prog_name="apex race")
