"""One suite of promises, run over every backend that makes them."""
