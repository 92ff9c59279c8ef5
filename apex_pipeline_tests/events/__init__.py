"""Tests of the shipper of event files."""
