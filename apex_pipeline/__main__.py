"""``python -m apex_pipeline`` is the same as the command ``apex``."""

from apex_pipeline.cli import main

if __name__ == "__main__":
    main()
