"""Makes the fixtures of ``lake/conftest.py`` available to the tests of this folder."""

from apex_pipeline_tests.lake.conftest import lake, store, weekend

__all__ = ["lake", "store", "weekend"]
