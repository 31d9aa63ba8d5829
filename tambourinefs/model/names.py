"""Names of units (systemd), objects (Kubernetes) and files, and text that is safe to print.

Rules: systemd.unit(5) and systemd's unit_name_is_valid(); systemd-escape(1); Kubernetes "Object
Names and IDs" and "Labels and Selectors". Everything here is a total function of strings; a
`*_problem` function returns what is wrong with a name, "" if it is valid.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Final

from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Iterable

# A namespaced object's (namespace, name), as in controller-runtime.
NamespacedName = tuple[str, str]

UNIT_TYPES: Final = (
    "service", "socket", "timer", "mount", "path", "target", "swap", "automount", "slice",
)  # fmt: skip
UNIT_TYPES_REFUSED: Final = {
    "device": "devices are made by udev, not by unit files",
    "scope": "scopes are made by programs at run time, not by unit files",
}
UNIT_NAME_MAX: Final = 255  # bytes, suffix included
FILE_NAME_MAX: Final = 255  # bytes, NAME_MAX of Linux
PATH_MAX: Final = 4095  # bytes, PATH_MAX of Linux without the NUL

_UNIT_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + ":-_.\\")
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
# Letters, digits, : _ and the slash: systemd looks for a mount by the one name that its path has.
_NEEDLESS_ESCAPE: Final = re.compile(
    r"\\x(2[fF]|3[0-9aA]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])"
)
_QUALIFIED_RULE: Final = (
    "has at most 63 letters, digits and -_. and begins and ends with a letter or digit"
)
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


# --- units ---


def with_suffix(name: str) -> str:
    """The unit's full name: `.service` is implied where `name` does not end in a unit type."""
    stem, _, suffix = name.rpartition(".")
    known = stem and (suffix in UNIT_TYPES or suffix in UNIT_TYPES_REFUSED)
    return name if known else f"{name}.service"


def unit_type(unit: str) -> str:
    """`service` of `foo.service`."""
    return unit.rpartition(".")[2]


def unit_problem(unit: str) -> str:
    """What is wrong with a full unit name, for systemd or for Tambourine."""
    stem, _, suffix = unit.rpartition(".")
    if suffix in UNIT_TYPES_REFUSED:
        return f"units of type {suffix} cannot be managed: {UNIT_TYPES_REFUSED[suffix]}"
    if suffix not in UNIT_TYPES:
        return f"a unit name must end in one of .{', .'.join(UNIT_TYPES)}"
    if not stem:
        return "a unit name must not be empty before its suffix"
    if len(unit.encode(errors="replace")) > UNIT_NAME_MAX:
        return f"a unit name has at most {UNIT_NAME_MAX} bytes, its suffix included"
    if stem.startswith("@"):
        return "a unit name must not be empty before the @"
    bad = sorted(set(stem) - _UNIT_CHARACTERS - {"@"})
    if bad:
        return (
            "a unit name may have letters, digits and :-_.\\@ only,"
            f" not {printable(' '.join(bad))!r} (see systemd-escape)"
        )
    if suffix in {"slice", "target"} and stem == "-":
        return "the root slice is managed by systemd"
    if suffix == "slice":
        return _slice_problem(stem)
    if suffix in {"mount", "automount", "swap"} and _NEEDLESS_ESCAPE.search(stem):
        return "a mount unit's name must be escaped as by systemd-escape --path"
    return ""


def _slice_problem(stem: str) -> str:
    """`a-b.slice` is inside `a.slice` (systemd.slice(5))."""
    if "@" in stem:
        return "a slice cannot be a template"
    if stem.startswith("-") or stem.endswith("-") or "--" in stem:
        return "a slice's name must be words joined by single dashes"
    return ""


def is_template(unit: str) -> bool:
    """Whether it is `foo@.service`, which can be installed but not started."""
    stem = unit.rpartition(".")[0]
    return stem.endswith("@") and stem.find("@") == len(stem) - 1


def instance(unit: str) -> str | None:
    """`bar` of `foo@bar.service`, still escaped; None for a plain unit and for a template."""
    _, at, rest = unit.rpartition(".")[0].partition("@")
    return rest if at and rest else None


def prefix(unit: str) -> str:
    """`foo` of `foo.service` and of `foo@bar.service`, still escaped (the specifier %p)."""
    return unit.rpartition(".")[0].partition("@")[0]


def template_of(unit: str) -> str | None:
    """`foo@.service` of `foo@bar.service`; None for a unit that is no instance."""
    if instance(unit) is None:
        return None
    return f"{prefix(unit)}@.{unit_type(unit)}"


def escape(text: str) -> str:
    """systemd-escape: `/` becomes `-`, what a unit name cannot have becomes `\\xNN` (of UTF-8)."""
    out = []
    for place, byte in enumerate(text.encode(errors="surrogateescape")):
        character = chr(byte)
        if character == "/":
            out.append("-")
        elif (
            character in "-\\" or character not in _UNIT_CHARACTERS or (place == 0 and byte == 0x2E)
        ):
            out.append(f"\\x{byte:02x}")
        else:
            out.append(character)
    return "".join(out)


def unescape(text: str) -> str:
    """systemd-escape --unescape; a broken `\\x` stays as it is."""
    raw = re.sub(
        r"\\x([0-9a-fA-F]{2})",
        lambda match: chr(int(match[1], 16)),
        text.replace("-", "/").encode(errors="surrogateescape").decode("latin-1"),
    )
    return raw.encode("latin-1").decode(errors="surrogateescape")


def unescape_path(text: str) -> str:
    """systemd-escape --unescape --path: the absolute path that a mount unit's stem stands for."""
    return "/" + unescape(text).strip("/")


# --- Tambourine's own units ---


def is_own_unit(unit: str) -> bool:
    """Whether it is a unit of Tambourine or mounts on its directories: no manifest may manage it.

    `tambourine-.service` counts: its drop-ins are those of every unit whose name begins so.
    """
    if any(reaches(unit, own) for own in paths.OWN_UNITS):
        return True
    if unit_type(unit) not in {"mount", "automount", "swap"}:
        return False
    where = unescape_path(unit.rpartition(".")[0])
    ours = (paths.RUN, paths.STATE, paths.PROC_LITERAL, paths.CONFIG.parent)
    return any(is_at_or_below(where, str(own)) for own in ours)


def reaches(unit: str, other: str) -> bool:
    """Whether systemd also reads drop-ins of `unit` for `other` (systemd.unit(5)): it is `other`, its
    template, or a prefix that ends in a dash (`a-.service` of `a-b.service`).
    """
    if unit_type(unit) != unit_type(other):
        return False
    if unit in {other, template_of(other)}:
        return True
    return prefix(unit).endswith("-") and other.startswith(prefix(unit))


def is_at_or_below(path: str, root: str) -> bool:
    """Whether normalised `path` is `root` or something in it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


# --- Kubernetes ---


def namespace_problem(name: str) -> str:
    """What is wrong with the name of a namespace (RFC 1123 label, at most 63 characters)."""
    if len(name) <= 63 and _DNS_LABEL.fullmatch(name):
        return ""
    return (
        "a namespace has at most 63 lower case letters, digits and dashes,"
        " and begins and ends with a letter or digit"
    )


def object_name_problem(name: str) -> str:
    """What is wrong with the name of an object (RFC 1123 subdomain, at most 253 characters)."""
    if len(name) <= 253 and all(_DNS_LABEL.fullmatch(part) for part in name.split(".")):
        return ""
    return (
        "a name has at most 253 lower case letters, digits, dashes and dots,"
        " and begins and ends with a letter or digit"
    )


def label_problem(key: str, value: str) -> str:
    """What is wrong with a label, for Kubernetes."""
    if len(value) > 63 or (value and not _QUALIFIED.fullmatch(value)):
        return f"a label's value {_QUALIFIED_RULE}"
    return label_key_problem(key)


def label_key_problem(key: str) -> str:
    """What is wrong with the key of a label or annotation, for Kubernetes."""
    domain, slash, name = key.rpartition("/")
    if slash and object_name_problem(domain):
        return "the prefix of a label's key must be a DNS subdomain"
    if len(name) > 63 or not _QUALIFIED.fullmatch(name):
        return f"a label's key {_QUALIFIED_RULE}"
    return ""


# --- files ---


def file_name_problem(name: str) -> str:
    """What is wrong with the name of a file."""
    if not name or name in {".", ".."} or "/" in name:
        return "a file name must be one path component"
    if len(name.encode(errors="replace")) > FILE_NAME_MAX:
        return f"a file name has at most {FILE_NAME_MAX} bytes"
    if printable(name) != name:
        return "a file name must not have control characters"
    return ""


def path_problem(path: str) -> str:
    """What is wrong with an absolute, normalised path of a file."""
    if not path.startswith("/") or path == "/":
        return "a path must be absolute"
    if len(path.encode(errors="replace")) > PATH_MAX:
        return f"a path has at most {PATH_MAX} bytes"
    for part in path[1:].split("/"):
        if part in {"", ".", ".."}:
            return "a path must be normalised: no //, /./ or /../, no / at the end"
        problem = file_name_problem(part)
        if problem:
            return problem
    return ""


# --- text ---

# C0, DEL, C1; line and paragraph separators; bidirectional controls and invisible characters
# (CVE-2021-42574); lone surrogates, which cannot be encoded.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\ufff9-\ufffb]"
)
_NAMED: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def printable(text: str, keep: str = "") -> str:
    """`text` with control, line-breaking and invisible characters escaped as in C.

    A byte that was not UTF-8 (surrogateescape) becomes `\\xNN`. Characters in `keep` ("\\n\\t")
    stay. Backslashes stay, since unit names have them: the result cannot be parsed.
    """
    return _UNPRINTABLE.sub(
        lambda match: match[0] if match[0] in keep else _escaped(match[0]), text
    )


def _escaped(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name that is most similar, or "": `dropIns` for `drop_ins` and `dropins`."""
    import difflib  # not worth its cost at each start

    folded: dict[str, str] = {}
    for name in known:
        folded.setdefault(_fold(name), name)
    found = difflib.get_close_matches(_fold(word[:64]), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else ""


def _fold(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()
