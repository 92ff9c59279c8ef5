"""A synthetic race weekend with planted faults, and the answers."""
