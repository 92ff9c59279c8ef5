"""Runs the command ``apex``, also as ``python -m apex_pipeline``."""

from apex_pipeline.process.exit import end_process
from apex_pipeline.process.interrupts import report_interruption, set_outlook, watch_signals
from apex_pipeline.process.standard_streams import make_streams_safe


def main() -> None:
    """Watch the signals, then import the command line and run it."""
    make_streams_safe()  # first, because it needs the numbers of closed streams to be free
    watch_signals()
    set_outlook("It had not begun.")  # whatever it was asked for: a sync, or a server
    try:
        from apex_pipeline.cli import main as run  # noqa: PLC0415  -- a signal during the import needs no traceback

        run(is_own_process=True)
    except KeyboardInterrupt as interrupted:
        end_process(report_interruption(interrupted))
    except SystemExit as ended:
        end_process(ended.code)


if __name__ == "__main__":
    main()
