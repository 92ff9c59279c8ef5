"""Tests of reading that need only the base installation; `make readers` runs them with other versions, too."""
