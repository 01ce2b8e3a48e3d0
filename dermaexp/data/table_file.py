"""Tables as files: CSV, TSV or Parquet, read by pandas as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dermaexp.core.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", "": ","}


def read_table(file: Path, text: bool = True) -> pd.DataFrame:
    """Return the table in the file, each cell as text, an empty one as "".

    text=False leaves numbers as they are. Raises UserError for what is no such file.
    """
    import pandas as pd

    if not file.is_file():
        raise UserError(f"dataset.table={file} is not a file: expected a .csv, .tsv or .parquet")
    suffix = file.suffix.lower()
    if suffix not in (*SEPARATORS, ".parquet"):
        raise UserError(f"dataset.table={file}: expected a .csv, .tsv or .parquet file")
    try:
        if suffix == ".parquet":
            table = pd.read_parquet(file)
            return _as_text(table) if text else table
        kinds = {"dtype": str, "keep_default_na": False} if text else {}
        separator = SEPARATORS[suffix]
        table = pd.read_csv(file, sep=separator, encoding="utf-8-sig", **kinds)
    except ImportError:
        raise UserError(
            f"{file} needs pyarrow: pip install 'dermaexp[parquet]', or save it as .csv"
        ) from None
    except (ValueError, OSError) as error:  # pandas' own, of encodings and of Parquet
        reason = str(error).partition("\n")[0]
        raise UserError(f"{file} cannot be read as a table: {reason}") from error
    if table.empty:
        raise UserError(f"{file} has no rows: expected one for each image")
    if not text:
        return table
    return table.fillna("").apply(lambda column: column.str.strip())


def column_of(table: pd.DataFrame, name: str, key: str, file: Path) -> pd.Series:
    """Return the column that `dataset.KEY` names; UserError where there is none."""
    if name not in table.columns:
        raise UserError(
            f"{file} has no column {name}, dataset.{key}: {nearest(name, map(str, table.columns))}"
        )
    return table[name]


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Parquet's typed cells as they would stand in a CSV file."""

    def text(value: object) -> str:
        if value is None or value != value:
            return ""
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value).strip()

    return table.map(text)
