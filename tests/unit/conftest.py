"""How many generated examples a test looks at: a quarter of a hundred where a person waits for them, other ones each time.
With CI set hypothesis takes its own profile `ci`: all hundred. In both no example fails for the time that it took.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

if not os.environ.get("CI"):
    settings.register_profile(
        "while somebody waits",
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("while somebody waits")
