"""Tests of the synthetic race weekend."""
