"""A join token: what `kubectl tambourine join` prints and `tambourine join` takes."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass
from typing import Final

from tambourinefs.errors import InvalidInput
from tambourinefs.model import names

MAX_TOKEN: Final = 64 << 10  # characters
_SERVER: Final = re.compile(
    r"https://[A-Za-z0-9.\-:\[\]]+(/[A-Za-z0-9._~/\-]*)?"
)  # a proxy may have a path
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/=\-]+")  # RFC 6750, 2.1


@dataclass(frozen=True, slots=True)
class Invitation:
    """What one snippet carries: where the cluster is, how to know it, and who may ask to be its node."""

    server: str  # https://host:port
    ca: str  # PEM
    token: str  # of the node's join account; good for an hour, for this node alone
    node: str

    def encode(self) -> str:
        """One word that a shell leaves alone."""
        return urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Invitation:
        """Raises InvalidInput."""
        hint = "Copy the whole snippet that `kubectl tambourine join NODE` prints."
        if len(text) > MAX_TOKEN:
            raise InvalidInput("the join token is too long", hint=hint)
        try:
            found = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            made = cls(**{key: str(value) for key, value in found.items()})
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidInput("that is no join token, or only a part of one", hint=hint) from error
        if not made.server.startswith("https://"):
            raise InvalidInput("the join token names a server without TLS", hint=hint)
        if not _SERVER.fullmatch(made.server):
            raise InvalidInput("what the join token names is not an address of a server", hint=hint)
        if "BEGIN CERTIFICATE" not in made.ca:  # without one the host would trust every public one
            raise InvalidInput("the join token names no certificate authority", hint=hint)
        if not _BEARER.fullmatch(made.token):
            raise InvalidInput("that is no join token, or only a part of one", hint=hint)
        if problem := names.object_name_problem(made.node):
            raise InvalidInput(f"the join token names no node: {problem}", hint=hint)
        return made
