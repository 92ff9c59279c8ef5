"""Lists the commands with their one-line help and examples, so that ``apex --help`` imports none of them.

A command's module is imported when it runs; a test holds these lines equal to its docstring. See ``app.py`` for the
group that reads this table.
"""

from typing import NamedTuple


class Command(NamedTuple):
    """A command of ``apex``.

    Attributes:
        name: Its name; the function ``NAME_command`` of its module implements it, or the Typer app ``NAME_app``.
        module: Module in ``apex_pipeline``.
        summary: First line of its help.
        examples: Command lines that work on the lake of ``apex demo``.
        reads_tables: It only reads tables with Arrow and needs no pandas; see ``process.py``.
        after_interruption: What is said when it was interrupted, instead of that the next run continues.
    """

    name: str
    module: str
    summary: str
    examples: tuple[str, ...] = ()
    reads_tables: bool = False
    after_interruption: str = ""


PANELS: dict[str, tuple[Command, ...]] = {
    "Pipeline": (
        Command(
            "init",
            "cli.init",
            "Write a commented .env with every setting, and say what to do next.",
            ("apex init", "apex init --bucket my-races"),
        ),
        Command(
            "sync",
            "cli.pipeline",
            "Bring the lake up to date: copy, identify, derive, check, publish; only what changed.",
            ("apex sync data", "apex sync data --json"),
        ),
        Command(
            "plan",
            "cli.plan",
            "Show what `apex sync` would do: files, sessions, requests, dollars. Nothing is sent.",
            ("apex plan data",),
        ),
        Command(
            "backfill",
            "cli.backfill",
            "Derive sessions again from the files that are in the lake: by default missing and stale ones.",
            ("apex backfill --dry-run", "apex backfill harbor/r1 --all"),
        ),
        Command(
            "schedule",
            "cli.schedule",
            "Show how to sync every night: with cron, a systemd timer, or Dagster. Nothing is installed.",
            ("apex schedule --at 02:30 data",),
        ),
        Command(
            "demo",
            "cli.pipeline",
            "Generate a synthetic race weekend with injected faults and sync it into a lake of its own.",
            ("apex demo", "apex demo --megabytes 200"),
        ),
        Command(
            "ui",
            "cli.pipeline",
            "Open the Dagster UI with the runs and assets of `apex sync`.",
            ("apex ui --port 3001",),
        ),
        Command(
            "upload",
            "upload.command",
            "Copy every file of a folder to a bucket, skipping those already there; nothing is deleted.",
            ("apex upload data --bucket races",),
        ),
        Command(
            "s3-server",
            "cli.s3_server",
            "Run a local S3 server for trying: prints the settings with which other commands use it.",
            ("apex s3-server", "apex s3-server --folder trial --port 9000"),
        ),
        Command(
            "events",
            "cli.event_group",
            "Ship rotated event files to a bucket, each once, in order, unchanged; and make records of them.",
            ("apex events ship incoming", "apex events records --day 2025-07-29"),
        ),
        Command(
            "race",
            "cli.race",
            "Upload AMS2 races, follow them, and run their worker.",
            ("apex race upload race.ams2rec", "apex race list"),
        ),
    ),
    "Query": (
        Command("tracks", "cli.query", "List the tracks of the lake.", ("apex tracks",), reads_tables=True),
        Command(
            "sessions",
            "cli.query",
            "List the sessions of the lake, with the kinds of raw file they have and miss.",
            ("apex sessions", "apex sessions harbor"),
            reads_tables=True,
        ),
        Command(
            "files",
            "cli.query",
            "List every file found, with its identity and status.",
            ("apex files --status quarantined", "apex files --csv"),
            reads_tables=True,
        ),
        Command(
            "results",
            "cli.laps",
            "List the classification of a session, the winner first.",
            ("apex results harbor r1", "apex results harbor r1 --limit 3 --csv"),
            reads_tables=True,
        ),
        Command(
            "best",
            "cli.laps",
            "List the best valid lap of every car of a session, or of every session of a track or of the lake.",
            ("apex best harbor r1", "apex best", "apex best harbor --overall"),
            reads_tables=True,
        ),
        Command(
            "laps",
            "cli.laps",
            "List the laps of a session, one car's or all.",
            (
                "apex laps harbor r1 --doubtful",
                "apex laps harbor r1 --car 13 --valid --csv",
                'apex laps harbor r1 --where "lap_time_s < 98" --sort lap_time_s',
            ),
            reads_tables=True,
        ),
        Command(
            "cars",
            "cli.query",
            "List the on-board devices and official cars of a session, how they are matched, and the evidence.",
            ("apex cars harbor r1",),
            reads_tables=True,
        ),
        Command(
            "telemetry",
            "cli.telemetry",
            "List telemetry samples of a session: by car, lap, time and channel.",
            (
                "apex telemetry harbor r1 --car 13 --best --csv",
                "apex telemetry harbor r1 --car 13 --lap 3 --channel speed_kph",
            ),
            reads_tables=True,
        ),
        Command(
            "compare",
            "cli.compare",
            "Compare two laps of a track: how far the second is behind the first, all along the lap.",
            ("apex compare harbor/r1/13 harbor/r2/13", "apex compare harbor/r1/13/5 harbor/r1/2/5 --step 2 --csv"),
            reads_tables=True,
        ),
        Command(
            "weather",
            "cli.query",
            "List the weather readings of a session, about one a minute.",
            ("apex weather harbor r1",),
            reads_tables=True,
        ),
        Command(
            "quality",
            "cli.query",
            "List the quality scores of a session and its cars, 0 to 100, each with a sentence.",
            ("apex quality harbor r1", "apex quality harbor r1 --car 13"),
            reads_tables=True,
        ),
        Command(
            "note",
            "cli.query",
            "Print what to know about a session, in a few sentences; by default about every session.",
            ("apex note harbor r1",),
            reads_tables=True,
        ),
        Command(
            "rejects",
            "cli.query",
            "List every row that could not be used, with file, line and reason.",
            ("apex rejects harbor r2",),
            reads_tables=True,
        ),
        Command(
            "table",
            "cli.query",
            "List rows of any published table: of a session, of a track, or of the whole lake.",
            (
                "apex table official_laps harbor r1 --limit 5",
                'apex table laps --where "is_valid" --sort lap_time_s --limit 10',
                "apex table laps --columns track,session,lap_time_s --parquet laps.parquet",
            ),
            reads_tables=True,
        ),
        Command(
            "diff",
            "cli.diff",
            "List what two snapshots publish differently: sessions, and tables with their rows.",
            ("apex diff 2026-01-01T00:00:00Z",),
            reads_tables=True,
        ),
        Command(
            "explain",
            "cli.explain",
            "Print how a file is identified: the rule, the evidence and the confidence.",
            ("apex explain data/barber/R1_barber_lap_time.csv",),
        ),
        Command(
            "trace",
            "cli.trace",
            "Trace a published row back to its raw rows.",
            ("apex trace laps harbor r1 --car 13 --lap 5",),
        ),
    ),
    "Maintain": (
        Command(
            "doctor",
            "cli.doctor",
            "Check settings, credentials, bucket, clock, disk, memory and Dagster; name the next step of each problem.",
            ("apex doctor", "apex doctor data --write"),
        ),
        Command(
            "verify",
            "cli.verify",
            "Check every object against the snapshot and load every session.",
            ("apex verify", "apex verify --deep"),
        ),
        Command(
            "accuracy",
            "cli.accuracy",
            "Derive every session again without official timing, and compare the laps with it.",
            ("apex accuracy",),
        ),
        Command(
            "history",
            "cli.history",
            "List what was published when, the newest first.",
            ("apex history", "apex history harbor/r1 --limit 5"),
            reads_tables=True,
        ),
        Command(
            "rollback",
            "cli.history",
            "Publish an earlier state again, as a new snapshot. Nothing is lost: rolling forward is another rollback.",
            ("apex rollback 2026-01-01T00:00:00Z harbor/r1",),
        ),
        Command(
            "forget",
            "cli.forget",
            "Take a raw file, a session or a track out of the lake; no sync brings it back.",
            ("apex forget mesa_verde_raceway/R2 --dry-run", "apex forget mesa_verde_raceway/R2 --undo"),
        ),
        Command(
            "gc",
            "cli.gc",
            "Find incomplete uploads, expired snapshots, unused tables, and AMS2 races no database knows.",
            ("apex gc", "apex gc --keep-days 7 --apply"),
        ),
        Command(
            "migrate",
            "cli.migrate",
            "Copy a whole lake to another place, verified: from a folder to S3, or back.",
            ("apex migrate /backup/lake --dry-run",),
        ),
        Command(
            "cost",
            "cli.cost",
            "Estimate the monthly S3 cost of the lake, or of the amounts given.",
            ("apex cost --storage-gb 50",),
        ),
        Command(
            "metrics",
            "cli.metrics",
            "Show metrics of the published lake: sessions, files, bytes, laps, readings, quality.",
            ("apex metrics", "apex metrics --prometheus"),
        ),
    ),
    "Share": (
        Command(
            "report",
            "cli.report",
            "Write the report of a session: one HTML file with its charts, which needs no network.",
            ("apex report harbor r1", "apex report harbor r1 --out harbor.html"),
            reads_tables=True,
        ),
        Command(
            "export",
            "cli.export",
            "Write published tables, or a part of them, as a database file, or a folder of CSV or Parquet files.",
            (
                "apex export races.sqlite --to sqlite",
                'apex export lap5 --to parquet --tables telemetry --where "lap_number = 5"',
            ),
        ),
        Command(
            "map",
            "cli.map",
            "Show the map of a track, its length and the evidence, or write it as GeoJSON.",
            ("apex map harbor", "apex map harbor r1 --geojson harbor.geojson"),
            reads_tables=True,
        ),
        Command(
            "motec",
            "cli.motec",
            "Write a lap, a stint or a whole session of a car as a MoTeC log, with its laps as beacons.",
            ("apex motec harbor r1 --car 13 --lap best --out lap.ld", "apex motec harbor r1 --car 13 --out race.ld"),
            reads_tables=True,
        ),
        Command(
            "bundle",
            "cli.bundle",
            "Copy some sessions into a separate lake, which every reader opens like any other.",
            ("apex bundle harbor.zip --tracks harbor_street_circuit",),
        ),
        Command(
            "downsample",
            "cli.downsample",
            "Copy a race folder with every Nth telemetry sample of every car, and all other race files unchanged.",
            ("apex downsample data small --every 100",),
        ),
        Command(
            "share",
            "cli.share",
            "Print a URL with which anyone can read one object for a limited time.",
            ("apex share harbor_street_circuit/R1/laps --expires 3600",),
        ),
        Command(
            "serve",
            "cli.serve",
            "Answer questions about the lake over HTTP, for applications: tables, laps, telemetry.",
            ("apex serve", "apex serve --port 8080 --lake lake"),
            reads_tables=True,
            after_interruption="The server has stopped; it only reads, so it left nothing behind.",
        ),
    ),
}

# Former names, which work for one more release and are not listed.
FORMER = (Command("sample", "cli.downsample", "Run `apex downsample` under its old name."),)
