"""The tables of every artifact: nothing enters the store unchecked, and equal tables are equal bytes.

One pandera model a table (`schemas`); `validate` raises a `TableError` that carries the failure cases as a table. Bytes
are deterministic: rows sorted by the table's key, one chunk, fixed compression and row groups, no clock. What holds
between the tables of one artifact (every problem has an answer, every text its node) is checked by `relate`.
Does not promise equal bytes from two releases of polars.
"""

from perseid.tables.schemas import SCHEMAS
from perseid.tables.validation import TableError, columns_of, frame, key_of, parquet_bytes, relate, validate

__all__ = ["SCHEMAS", "TableError", "columns_of", "frame", "key_of", "parquet_bytes", "relate", "validate"]
