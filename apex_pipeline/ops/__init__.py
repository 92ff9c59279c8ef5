"""A lake in numbers: what a sync would send, what it costs, what is published."""
