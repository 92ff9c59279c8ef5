"""Defines the group of commands and the entry point; see ``entry_point.py`` for errors, signals and exit codes.

``apex --help`` takes 0.2 s because the commands are listed from ``commands.py``; only the one that runs is imported.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from apex_pipeline.cli.commands import FORMER, PANELS, Command
from apex_pipeline.console import print_error
from apex_pipeline.entry_point import run_command_line
from apex_pipeline.errors import ApexError, ConfigurationError, did_you_mean
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.process.interrupts import set_outlook
from apex_pipeline.terminal import width_of
from apex_pipeline.version import package_version

# Without a terminal; the width that programs assume.
_HELP_WIDTH = 80
_COMMANDS: dict[str, Command] = {command.name: command for panel in PANELS.values() for command in panel}
_FORMER: dict[str, Command] = {command.name: command for command in FORMER}
_WITHOUT_BRACES = str.maketrans("", "", "{}")
# The base of all errors in a command line; Typer exports only this subclass of it.
_UsageError: Any = typer.BadParameter.__base__


class ApexGroup(TyperGroup):
    """The commands of :data:`PANELS`, each imported when it is needed."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002  -- Typer exports no type of it
        """Return the names of the commands in the order of the help."""
        return [*_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  -- as above
        """Return a command, ready to run; ``None`` if there is none of this name."""
        if cmd_name in self.commands:  # while completing names
            return self.commands[cmd_name]
        command = _COMMANDS.get(cmd_name) or _FORMER.get(cmd_name)
        if command is None:
            return None
        if not ctx.resilient_parsing:
            set_outlook(command.after_interruption)
            _prepare_process(command, is_own_process=bool(ctx.obj))
        return load_command(command)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401  -- as above
        """Return the command named by the first argument."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and name not in {*_COMMANDS, *_FORMER}:
            hint = f"{did_you_mean(name, _COMMANDS)}`apex --help` lists all commands."
            raise ConfigurationError(f"There is no command {name!r}.", hint)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:  # noqa: ANN401  -- as above
        """Return the completions of a name, without importing the commands."""
        self.commands = {name: TyperCommand(name, help=command.summary) for name, command in _COMMANDS.items()}
        return super().shell_complete(ctx, incomplete)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:  # noqa: ANN401  -- as above
        """Run a command line and exit; a wrong one gets the same kind of message as any other error."""
        try:
            code = super().main(args, *rest, **{**options, "standalone_mode": False})
        except _UsageError as error:
            sys.exit(_report_usage(error))
        except typer.Abort:
            sys.stderr.write("Stopped.\n")
            sys.exit(ExitCode.SOME_FAILED)
        sys.exit(code if isinstance(code, int) else ExitCode.OK)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002  -- as above
        """Print the help: rich's own panels, because Typer's import Markdown, which takes as long as all the rest."""
        from rich.console import Console  # noqa: PLC0415  -- only the help needs them
        from rich.panel import Panel  # noqa: PLC0415  -- as above
        from rich.table import Table  # noqa: PLC0415  -- as above

        out = Console(width=width_of(sys.stdout) or _HELP_WIDTH, highlight=False)
        out.print(f"\n [bold]Usage:[/] apex [OPTIONS] COMMAND …\n\n {self.help}\n", soft_wrap=True)
        options = [(", ".join(option.opts), getattr(option, "help", "")) for option in self.get_params(ctx)]
        panels = [("Options", options)]
        panels += [(name, [(one.name, one.summary) for one in commands]) for name, commands in PANELS.items()]
        for title, lines in panels:
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_column(style="bold", no_wrap=True)
            grid.add_column()
            for line in lines:
                grid.add_row(*line)
            out.print(Panel(grid, title=title, title_align="left", border_style="dim"))
        out.print(" Try it: apex demo, then apex sessions, apex best harbor r1, apex ui.", soft_wrap=True)


def load_command(command: Command) -> Any:  # noqa: ANN401  -- as above
    """Import a command and return it as Typer runs it, with its examples below its help."""
    module = import_module(f"apex_pipeline.{command.module}")
    function = command.name.replace("-", "_")
    group = getattr(module, f"{function}_app", None)
    if group is None:
        group = typer.Typer(add_completion=False)
        group.command(command.name)(getattr(module, f"{function}_command"))
    loaded = typer.main.get_command(group)
    loaded.name = command.name
    if command.examples:
        loaded.epilog = "\n\n".join(["Examples:", *command.examples])
    return loaded


def _prepare_process(command: Command, *, is_own_process: bool) -> None:
    from apex_pipeline.cli.process import prepare_process  # noqa: PLC0415  -- importing the settings takes 0.2 s

    prepare_process(reads_tables=command.reads_tables, is_own_process=is_own_process)


def _report_usage(error: Any) -> int:  # noqa: ANN401  -- as above
    """Print what is wrong with a command line, and how the command is used."""
    context = error.ctx
    if context is None or not error.format_message():
        error.show()
        return ExitCode.BAD_INPUT
    usage = " ".join(context.get_usage().split()).translate(_WITHOUT_BRACES)
    # pydantic, which Typer uses for values, says what kind of error it is.
    problem = error.format_message().rstrip(".").replace("\n", " ").replace("Value error, ", "")
    print_error(ApexError(f"{problem}.", f"{usage}; `{context.command_path} --help` explains it."))
    return ExitCode.BAD_INPUT


def _print_version(*, is_wanted: bool) -> None:
    if is_wanted:
        sys.stdout.write(f"apex {package_version()}\n")
        raise typer.Exit


app = typer.Typer(
    name="apex",
    cls=ApexGroup,
    help="Race-data lake: raw race files in, correct lap and telemetry tables out.",
    no_args_is_help=True,
    # Users get a message with the next step, never a traceback; APEX_DEBUG=1 shows it for developers.
    pretty_exceptions_enable=False,
)


@app.callback()
def apex(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            is_eager=True,
            callback=lambda value: _print_version(is_wanted=value),
        ),
    ] = False,
) -> None:
    """Race-data lake: raw race files in, correct lap and telemetry tables out."""


def main(*, is_own_process: bool = False) -> None:
    """Run the command line and exit with one of the codes in ``exit_codes.py``.

    Args:
        is_own_process: The process runs nothing else, so it can do without what the command does not need.
    """
    # The name is shown in the help, even when started as `python -m apex_pipeline`.
    run_command_line(lambda: app(prog_name="apex", obj=is_own_process))
