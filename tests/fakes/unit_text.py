"""As much of systemd.syntax(7) as the fake needs."""

from __future__ import annotations

from pathlib import Path

MASK = Path("/dev/null")


def parse(*texts: str) -> dict[str, dict[str, list[str]]]:
    """Sections, keys, values in order; drop-ins after the unit; an empty assignment forgets what
    came before.
    """
    sections: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        section: dict[str, list[str]] = {}
        for line in map(str.strip, text.replace("\\\n", " ").splitlines()):
            if line.startswith("["):
                section = sections.setdefault(line.strip("[]"), {})
            elif "=" in line and not line.startswith(("#", ";")):
                key, _, value = line.partition("=")
                values = section.setdefault(key.strip(), [])
                values.append(value.strip()) if value.strip() else values.clear()
    return sections


def template_of(name: str) -> str:
    """`a@.service` of `a@x.service`."""
    prefix, at, rest = name.partition("@")
    return f"{prefix}@.{rest.rpartition('.')[2]}" if at else name


def find(directory: Path, name: str) -> Path | None:
    """The file of a unit, or of its template; also a mask or a symlink that leads nowhere."""
    for candidate in (name, template_of(name)):
        path = directory / candidate
        if path.is_symlink() or path.is_file():
            return path
    return None


def is_mask(path: Path) -> bool:
    return path.resolve() == MASK or (path.is_file() and path.stat().st_size == 0)


def drop_ins(directory: Path, name: str) -> list[Path]:
    """Drop-ins by file name; the instance's win over the template's."""
    found: dict[str, Path] = {}
    for owner in (template_of(name), name):
        for path in sorted((directory / f"{owner}.d").glob("*.conf")):
            found[path.name] = path
    return [found[key] for key in sorted(found)]
