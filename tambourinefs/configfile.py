"""Reads the host's configuration from /etc/tambourine; what it means is the model's."""

from __future__ import annotations

from pathlib import Path, PurePath

from tambourinefs.errors import InvalidConfig
from tambourinefs.model import config, paths

MAX_BYTES = 1 << 20


def load(path: PurePath | str = paths.CONFIG) -> config.Effective:
    """The effective configuration: the file at `path`, then `config.d/*.toml` beside it in the order of their names.

    A missing file is an empty one (the defaults hold).

    Raises InvalidConfig with the file and the key.
    """
    main = Path(path)
    parts = sorted((main.parent / "config.d").glob("*.toml"))
    return config.merge([(str(part), read(part)) for part in [main, *parts] if part.exists()])


def read(path: Path) -> bytes:
    """One configuration file, as bytes.

    Raises InvalidConfig where it cannot be read or is larger than MAX_BYTES.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidConfig(f"cannot be read: {error.strerror}", source=str(path)) from error
    if len(data) > MAX_BYTES:
        raise InvalidConfig(f"is larger than {MAX_BYTES} bytes", source=str(path))
    return data
