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
    """What a join token contains: the cluster's address and CA, and the credentials of a node's join account."""

    server: str  # https://host:port
    ca: str  # PEM
    token: str  # of the node's join account; valid for an hour
    node: str

    def encode(self) -> str:
        """URL-safe base64, which needs no quoting in a shell."""
        return urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Invitation:
        """Raises InvalidInput."""
        hint = "copy the whole command that `kubectl tambourine join NODE` prints"
        if len(text) > MAX_TOKEN:
            raise InvalidInput("the join token is too long", hint=hint)
        try:
            found = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            made = cls(**{key: str(value) for key, value in found.items()})
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidInput("not a join token, or only a part of one", hint=hint) from error
        if not made.server.startswith("https://"):
            raise InvalidInput("join token: the server is not an https:// address", hint=hint)
        if not _SERVER.fullmatch(made.server):
            raise InvalidInput("join token: the server is not a valid address", hint=hint)
        if "BEGIN CERTIFICATE" not in made.ca:  # without one the host would trust every public one
            raise InvalidInput("join token: the certificate authority is missing", hint=hint)
        if not _BEARER.fullmatch(made.token):
            raise InvalidInput("not a join token, or only a part of one", hint=hint)
        if problem := names.object_name_problem(made.node):
            raise InvalidInput(f"join token: node: {problem}", hint=hint)
        return made
