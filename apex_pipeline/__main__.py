"""Runs the command ``apex`` as ``python -m apex_pipeline``."""

from apex_pipeline.cli import main

if __name__ == "__main__":
    main()
