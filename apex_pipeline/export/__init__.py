"""Handing parts of a lake or of a race folder on: small copies, bundles, databases, addresses to share."""
