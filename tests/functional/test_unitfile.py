"""systemctl reads odd unit files as we do. It needs no running systemd: `--root` works on a directory."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tambourinefs.model.unitfile import aliases

if TYPE_CHECKING:
    from pathlib import Path

ODD = {
    "plain": "[Install]\nAlias=a.service b.service\n",
    "quotes": "[Install]\nAlias=\"a.service\" 'b.service'\n",
    "continued": "[Install]\nAlias=a.service \\\n  b.service\n",
    "comments between": "[Install]\nAlias=a.service \\\n# x \\\n  ; y\n b.service\n",
    "continued at the end": "[Install]\nAlias=a.service \\",
    "carriage returns": "[Install]\rAlias=a.service\rAlias=b.service\r",
    "crlf": "[Install]\r\nAlias=a.service \\\r\nb.service\r\n",
    "lfcr": "[Install]\n\rAlias=a.service\n\rAlias=b.service\n\r",
    "byte order mark": "\ufeff[Install]\nAlias=a.service\n",
    "reset": "[Install]\nAlias=a.service\nAlias=\nAlias=b.service\n",
    "blanks": "  [Install]  \n \t Alias \t=\t a.service \t\n",
    "escaped name": "[Install]\nAlias=a\\x2db.service\n",
    "specifiers": "[Install]\nAlias=%p-a.service %N-b.service %j.service\n",
    "other section": "[X-Install]\nAlias=a.service\n[Install]\nAlias=b.service\n",
    "section twice": "[Install]\nAlias=a.service\n[Unit]\nDescription=x\n[Install]\nAlias=b.service\n",
    "case": "[install]\nAlias=a.service\n[Install]\nalias=c.service\nAlias=b.service\n",
    "value with =": "[Install]\nX=Alias=a.service\nAlias=b.service\n",
    "comment in a value": "[Install]\nAlias=a.service #b.service\n",
    "before a section": "Alias=a.service\n[Install]\nAlias=b.service\n",
    "line without =": "[Install]\nAlias a.service\nAlias=b.service\n",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_systemctl_makes_the_aliases_that_we_read(text: str, tmp_path: Path) -> None:
    made = enabled(tmp_path, text)
    expected = {name for name in aliases([text], "foo-x.service") if not name.startswith("#")}
    assert made == expected
    assert made, "the case proves nothing"


def enabled(root: Path, text: str) -> set[str]:
    """The links that `systemctl enable` makes beside the unit."""
    assert shutil.which("systemctl"), "systemctl is missing: apt-get install systemd"
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "foo-x.service").write_bytes(text.encode())
    subprocess.run(
        ["systemctl", f"--root={root}", "enable", "foo-x.service"], check=False, capture_output=True
    )
    return {entry.name for entry in units.iterdir() if entry.is_symlink()}
