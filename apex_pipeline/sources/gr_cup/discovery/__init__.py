"""What a raw file of the GR Cup is: by its path, its content and its siblings."""
