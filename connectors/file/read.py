"""A file of any known format -> `Table`, chosen by the file's ending.

I know nothing of the formats themselves.
"""

from pathlib import Path

from connectors.file.columnar import read_csv, read_parquet
from connectors.file.npz import read_npz
from connectors.file.tables import Table, TableError

_READERS = {".csv": read_csv, ".csv.gz": read_csv, ".parquet": read_parquet, ".pq": read_parquet, ".npz": read_npz}


def read_table(path: Path) -> Table:
    """The table in a CSV, Parquet or NPZ file.

    Raises:
        TableError: there is no such file, its ending is unknown, or it cannot be read as a table.
    """
    if not path.is_file():
        raise TableError(f"{path} is not a file; wanted a CSV, Parquet or NPZ file")
    for ending, reader in _READERS.items():
        if path.name.lower().endswith(ending):
            return reader(path)
    raise TableError(f"{path} ends in none of {', '.join(_READERS)}; name the file after its format")
