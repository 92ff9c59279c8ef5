"""Real servers used by the tests, and the fixtures that start them."""
