"""Runs ``python -m apex_pipeline.upload``, which uploads the folder in the settings to the bucket in the settings."""

from apex_pipeline.upload import main

if __name__ == "__main__":
    main()
