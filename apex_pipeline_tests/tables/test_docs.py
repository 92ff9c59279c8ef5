"""Tests that the data dictionary matches the schemas."""

from pathlib import Path

from apex_pipeline.sources import all_tables
from apex_pipeline.tables.docs import data_dictionary

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"


def test_the_committed_page_matches_the_schemas() -> None:
    assert _PAGE.read_text(encoding="utf-8") == data_dictionary() + "\n", "run `make docs`"


def test_every_column_of_every_table_is_on_the_page() -> None:
    page = data_dictionary()
    missing = [
        column.name for table in all_tables().values() for column in table.columns if f"| `{column.name}` |" not in page
    ]
    assert missing == []
