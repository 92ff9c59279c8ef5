"""Answers questions about a lake over HTTP, from one snapshot each, as bytes that are kept and sent again."""
