"""Tables as files: CSV, TSV or Parquet, read by pandas as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
            table = _as_text(pd.read_parquet(file))
        else:
            table = _read_text(file, SEPARATORS[suffix], str if text else None)
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
    table.columns = [str(name).strip() for name in table.columns]
    return table.fillna("").apply(lambda column: column.str.strip())


def column_of(table: pd.DataFrame, name: str, key: str, file: Path) -> pd.Series:
    """Return the column that `dataset.KEY` names; UserError where there is none."""
    if name not in table.columns:
        raise UserError(
            f"{file} has no column {name}, dataset.{key}: {nearest(name, map(str, table.columns))}"
        )
    column = table[name]
    if column.ndim > 1:
        raise UserError(
            f"{file} has {column.shape[1]} columns {name}, dataset.{key}: expected one; rename the "
            "others"
        )
    return column


def groups_of(table: pd.DataFrame, column: str | None, file: Path) -> np.ndarray | None:
    """Return the lesion group (N,) of each row, "" for an empty cell; None without a column."""
    if column is None:
        return None
    return column_of(table, column, "group_column", file).to_numpy(str)


def _read_text(file: Path, separator: str, dtype: type | None) -> pd.DataFrame:
    """Return the table with the names of its header: pandas would number equal ones."""
    import pandas as pd

    options: dict[str, Any] = {
        "sep": _separator(file, separator),
        "encoding": "utf-8-sig",
        "keep_default_na": False,  # "NA" and "None" are words
    }
    table = pd.read_csv(file, dtype=dtype, **options)
    names = pd.read_csv(file, dtype=str, header=None, nrows=1, **options).iloc[0]
    if len(names) == len(table.columns):
        named = zip(names, table.columns, strict=True)
        table.columns = [name or numbered for name, numbered in named]
    return table


def _separator(file: Path, expected: str) -> str:
    """The expected separator, or the one that the header has instead, as of a German Excel."""
    with file.open(encoding="utf-8-sig", errors="replace") as content:
        header = content.readline()
    others = [other for other in (";", "\t", ",") if other in header]
    return expected if expected in header or not others else others[0]


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Parquet's typed cells as they would stand in a CSV file."""
    import pandas as pd

    def text(value: object) -> str:
        if isinstance(value, (list, np.ndarray)):  # several labels
            return "|".join(map(text, value))
        if pd.isna(value):
            return ""
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value).strip()

    return table.map(text)
