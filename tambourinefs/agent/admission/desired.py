"""What is desired of this host: the manifests as the silo showed them last, and what each of them means. It looks at
nothing itself.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tambourinefs.agent.admission import judge as judging
from tambourinefs.agent.admission.conflicts import owners
from tambourinefs.agent.admission.judge import ACCEPTED, Judgement
from tambourinefs.agent.planning.plan import Gone
from tambourinefs.agent.status.conditions import UNKNOWN, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tambourinefs.agent.admission.policy import Policy
    from tambourinefs.agent.silo.scan import Entry, Scan, SiloUnavailable
    from tambourinefs.agent.state.applied import AppliedState
    from tambourinefs.model.names import NamespacedName

log = logging.getLogger(__name__)
NOT_YET = "the silo was not read yet"


class Desired:
    """Of the whole silo: known, or unknown with a reason."""

    def __init__(self, applied: AppliedState, rules: Policy) -> None:
        self._applied = applied
        self._rules = rules
        self.problem = NOT_YET  # why what is desired is not known; "": it is
        self.entries: Mapping[NamespacedName, Entry] = {}
        self.unread: Mapping[NamespacedName, str] = {}  # in the silo, and why each cannot be read
        self._uuid = ""
        self._readings: dict[NamespacedName, judging.Reading] = {}

    def failed(self, error: SiloUnavailable) -> None:
        """The silo could not be read: what is desired is not known, which is no order."""
        problem = error.message + (f". {error.hint}" if error.hint else "")
        if self.problem != problem:
            log.warning("%s", error.message + (f" ({error.hint})" if error.hint else ""))
        self.problem = problem

    def read(self, scan: Scan) -> bool:
        """Take a scan in. True where all has to be judged again: nothing was known before, or it is another silo."""
        again = bool(self.problem) or scan.uuid != self._uuid
        self.problem, self._uuid = "", scan.uuid
        for key, why in scan.unread.items():
            if self.unread.get(key) != why:
                log.warning("%s", why)
        self.entries, self.unread = scan.entries, scan.unread
        for key in scan.changed - scan.entries.keys():
            self._readings.pop(key, None)
        return again

    def judge(
        self, key: NamespacedName, entry: Entry | None, taken: Mapping[str, NamespacedName]
    ) -> Judgement:
        """What follows for one service while the silo is known; `entry` is its manifest, `taken` who has which name."""
        record = self._applied.get(key)
        if key in self.unread:
            return Judgement(Verdict(UNKNOWN, "SiloUnavailable", self.unread[key]))
        if entry is None:
            kept = judging.judge_missing(record, self._rules, self._uuid) if record else None
            return kept or Judgement(ACCEPTED, gone=Gone(deleted=True))
        return judging.judge(self._reading(key), record, taken, self._uuid)

    def taken(self, keys: Iterable[NamespacedName]) -> Mapping[str, NamespacedName]:
        """Who has which name, as far as these need it. Only newcomers have to be compared with other newcomers."""
        if self.problem or all(key in self._applied.records for key in keys):
            return self._applied.taken
        new = (self._reading(key) for key in self.entries if key not in self._applied.records)
        waiting = {
            reading.entry.key: (reading.entry.manifest, reading.claims)
            for reading in new
            if reading.competes and reading.entry.manifest is not None
        }
        return owners(self._applied.taken, waiting)

    def _reading(self, key: NamespacedName) -> judging.Reading:
        entry, known = self.entries[key], self._readings.get(key)
        if known is None or known.entry is not entry:
            known = self._readings[key] = judging.read(entry, self._rules)
        return known
