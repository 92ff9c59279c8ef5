"""What files mean: pure functions over handed streams, no storage and no Dagster."""
