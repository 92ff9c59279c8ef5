"""Lists the commands of ``apex events``; ``events.py`` ships files, and ``event_records.py`` makes records of them."""

import typer

from apex_pipeline.cli.event_records import bundle_command, records_command
from apex_pipeline.cli.events import ship_command, watch_command

events_app = typer.Typer(
    help="Ship rotated event files to a bucket, each once, in order, unchanged; and make records of them.",
    no_args_is_help=True,
)
events_app.command("ship")(ship_command)
events_app.command("watch")(watch_command)
events_app.command("records")(records_command)
events_app.command("bundle")(bundle_command)
