"""Reads the files of the host's configuration."""

from __future__ import annotations

from pathlib import Path, PurePath

from tambourinefs.errors import InvalidConfig
from tambourinefs.model import config, paths

MAX_BYTES = 1 << 20


def load(path: PurePath | str = paths.CONFIG) -> config.Effective:
    """The configuration of the file at `path`, if it exists, and of `config.d/*.toml` beside it.

    Raises InvalidConfig with the file and the key.
    """
    main = Path(path)
    parts = sorted((main.parent / "config.d").glob("*.toml"))
    return config.merge([(str(part), read(part)) for part in [main, *parts] if part.exists()])


def read(path: Path) -> bytes:
    """One configuration file, as bytes.

    Raises InvalidConfig if it cannot be read or is larger than MAX_BYTES.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidConfig(f"cannot be read: {error.strerror}", source=str(path)) from error
    if len(data) > MAX_BYTES:
        raise InvalidConfig(f"is larger than {MAX_BYTES} bytes", source=str(path))
    return data
