"""Plain language: the field's own terms, one for each idea.

A word of this list has a term of systemd, Kubernetes or trio instead. A legitimate use (the user
`nobody`, a BPF ring buffer) is listed with its file.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).parents[2]
# The words, and what to write instead.
WORDS: Final = {
    r"anew": "again, from scratch",
    r"rang|rung|bells?|deaf": "notify, notification, changed, wake",
    r"whom": "name the component",
    r"(?:any|no|some|every)body(?: else)?": "name the component or the role",
    r"mend(?:s|ed|ing)?": "fix",
    r"as asked": "ready, matches its spec",
    r"let(?:s|ting)? go": "release",
    r"(?<!there )is nothing": "no-op",
    r"lies there|lies around": "is, exists",
    r"gets? over": "tolerates",
    r"judge(?:s|d|ment|ments)?|judging": "admit, admission",
    r"obey(?:s|ed|ing)?": "allow, apply",
    r"rooms?": "package, layer; space",
    r"in sight|sights?": "observed, UnitCache",
    r"flights?": "running jobs, in progress",
    r"landed": "finished",
    r"pin(?:s|ned)? up": "publish",
    r"amid": "during",
    r"stands? over": "overrides",
    r"of ours": "managed by Tambourine, Tambourine's own",
    r"hands (?:that|which)|by hand of": "changed by hand",
    r"twin(?:s)? of": "copy of",
    r"FarFromServer|NotRenewed|CannotRenew|SomeRefused|say-again": "the reason's new name",
    r"NamespaceNotRespected|--respect": "NamespaceNotAllowed, --allow-namespace",
}
PATTERN: Final = re.compile(
    "|".join(rf"(?P<w{i}>(?<![\w-])(?:{word})(?![\w-]))" for i, word in enumerate(WORDS)),
    re.IGNORECASE,
)
SUFFIXES: Final = frozenset({
    ".py", ".md", ".yaml", ".yml", ".toml", ".cfg", ".proto", ".c", ".h", ".templates", ".txt",
    ".service", ".mount", ".timer", ".socket", ".sysusers", ".tmpfiles",
})  # fmt: skip
# Everything that users meet. tests/ follows.
CHECKED: Final = ("tambourinefs/", "docs/", "k8s/", "systemd/", "debian/", "proto/", "kernel/")
# (file, word) pairs that are right as they are.
ALLOWED: Final[frozenset[tuple[str, str]]] = frozenset()


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=TREE, text=True, capture_output=True, check=True)
    return [name for name in done.stdout.splitlines() if name.startswith(CHECKED)]


def is_text(path: Path) -> bool:
    if path.suffix:
        return path.suffix in SUFFIXES
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def test_words_are_the_fields_own() -> None:
    found = []
    for name in tracked():
        path = TREE / name
        if not path.is_file() or not is_text(path):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for match in PATTERN.finditer(line):
                word = match[0]
                if (name, word.lower()) in ALLOWED:
                    continue
                instead = list(WORDS.values())[int((match.lastgroup or "w0")[1:])]
                found.append(f"{name}:{number}: {word!r} (write: {instead})")
    assert not found, f"{len(found)} words to replace:\n" + "\n".join(found)
