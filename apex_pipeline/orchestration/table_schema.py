"""A table's schema in Dagster's words, for the catalog pages of the UI.

Here belongs the translation and nothing else; the schemas themselves are in ``tables``.
"""

import dagster as dg
import pyarrow as pa

from apex_pipeline.tables.model import Table


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Return Dagster's column schema for an Arrow schema whose fields carry description and unit."""
    return dg.TableSchema(columns=[_column(field) for field in schema])


def table_metadata(table: Table) -> dict[str, object]:
    """Return the metadata an asset's definition carries, so that its page tells the columns before the first run."""
    return {"dagster/column_schema": column_schema(table.schema), "dagster/table_name": table.name}


def _column(field: pa.Field) -> dg.TableColumn:
    facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    unit = facts.get("unit")
    return dg.TableColumn(
        name=field.name,
        type=_type_name(field.type),
        constraints=dg.TableColumnConstraints(nullable=field.nullable),
        description=f"{facts.get('description', '')} [{unit}]" if unit else facts.get("description"),
    )


def _type_name(kind: pa.DataType) -> str:
    """Return the type as people read it; that labels are dictionary-encoded is a matter of storage."""
    return str(kind.value_type) if isinstance(kind, pa.DictionaryType) else str(kind)
