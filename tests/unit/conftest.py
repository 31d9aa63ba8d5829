"""How many examples hypothesis generates: the same few in the lane, more and others in a soak."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("lane", _PATIENT, max_examples=25, derandomize=True)
settings.register_profile("soak", _PATIENT, max_examples=100, print_blob=True)
settings.load_profile(os.environ.get("TAMBOURINE_HYPOTHESIS", "lane"))
