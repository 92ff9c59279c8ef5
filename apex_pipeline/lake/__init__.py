"""What the lake holds: where the meaning of files (``sources``) and their bytes (``storage``) meet. No Dagster."""
