"""The texts of units that systemd reads without an error, as one regular expression (RE2): what the CRDs carry.

tambourinefs/model/unitfile.py is the truth; test_crds.py holds the two against each other. In that module's words:
physical lines are comments, or parts of a logical line, which goes on where one ends in a backslash that no backslash
escapes; a logical line that begins with [ is a section's header, whole. Carriage returns alone and byte order marks within
the text, which systemd reads in ways of its own, are refused by rules.py as well as here.
"""

from __future__ import annotations

MARK = r"\x{feff}"  # the byte order mark
END = r"\r?\n"
BLANK = r"[ \t]*"
NOTE = rf"{BLANK}[#;][^\x00{MARK}\r\n]*"  # a comment, up to the end of its line
NOTES = rf"({NOTE}{END})*"
ON = rf"\\{END}{NOTES}"  # the line goes on in the next one that is no comment
LEAD = rf"{BLANK}({ON}{BLANK})*"

_NAMES = rf"\x00-\x1f\x7f{MARK}\"'\\"  # what no header has
HEADER = rf"\[[^{_NAMES}]*({ON} *([^ #;{_NAMES}][^{_NAMES}]*)?)*\]{LEAD}"

_ESCAPED = rf"\\[^\x00{MARK}\r\n]"
_REST = rf"({_ESCAPED}|[^\x00{MARK}\\\r\n])*"
_PART = rf"({BLANK}(({_ESCAPED}|[^ \t#;\x00{MARK}\\\r\n]){_REST})?)"
OTHER = rf"({_ESCAPED}|[^ \t#;\x00{MARK}\\\r\n\[]){_REST}({ON}{_PART})*"

LAST = rf"(\\|{ON}{NOTE})?"  # a text may end in a line that would go on
LINE = rf"{LEAD}({HEADER}|{OTHER})?"
LINES = rf"({NOTE}{END}|{LINE}{END})*"
TAIL = rf"({END}{LINES}({NOTE}|{LINE}{LAST})|{LAST})"
NOTHING = rf"({NOTE}{END}|{LEAD}{END})*({NOTE}|{LEAD}{LAST})"

WITH_A_SECTION = rf"{LINES}{LEAD}{HEADER}{TAIL}"
UNIT = rf"^{MARK}?{WITH_A_SECTION}$"
DROP_IN = rf"^{MARK}?({WITH_A_SECTION}|{NOTHING})$"
