"""What the server itself knows of files, without the libraries that make them."""

from importlib.util import find_spec


def can_write_parquet() -> bool:
    """Whether the library for it is installed."""
    return find_spec("pyarrow") is not None
