"""Real servers the tests talk to, and the fixtures that start them."""
