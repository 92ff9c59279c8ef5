"""``python -m apex_pipeline.upload``: the folder of the settings into the bucket of the settings."""

from apex_pipeline.upload import main

if __name__ == "__main__":
    main()
