"""How many generated examples a test looks at: half of a hundred where a person waits for them, other ones each time.
With CI set hypothesis takes its own profile `ci`: all hundred.
"""

from __future__ import annotations

import os

from hypothesis import settings

if not os.environ.get("CI"):
    settings.register_profile("while somebody waits", max_examples=50)
    settings.load_profile("while somebody waits")
