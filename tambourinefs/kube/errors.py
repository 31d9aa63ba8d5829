"""Errors of the API server, translated once: HTTP status and reason (Kubernetes: Status) to the project's errors."""

from __future__ import annotations

from typing import Any

import msgspec

from tambourinefs import errors


class Unauthorized(errors.Unreachable):
    """401: the credentials have expired or are not valid; reading them again may help."""


class Forbidden(errors.RefusedByPolicy):
    """403: RBAC or an admission policy forbids it."""


class Gone(errors.Unreachable):
    """410: the resourceVersion asked for is too old; list again."""


class Invalid(errors.InvalidInput):
    """400 or 422: the schema, a validation rule or a policy rejects the object. The message names the field."""


class Throttled(errors.Unreachable):
    """429: a healthy API server asks to retry after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


_BY_CODE: dict[int, type[errors.TambourineError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    410: Gone,
    422: Invalid,
    429: Throttled,
}


def from_status(status: Any, what: str) -> errors.TambourineError:  # of the wire
    """The error for a Status object (api-conventions, "Response Status Kind"); `what` names the object."""
    code, reason, message = 0, "", ""
    if isinstance(status, dict):
        code, reason = int(status.get("code") or 0), str(status.get("reason") or "")
        message = str(status.get("message") or "")
    if code == 409 and reason == "AlreadyExists":
        return errors.AlreadyExists(f"{what}: {message}")
    kind = _BY_CODE.get(code, errors.Unreachable)
    return kind(f"{what}: {message or reason or f'status {code}'}"[:2000])


def from_answer(
    code: int, body: bytes, retry_after: str | None, what: str
) -> errors.TambourineError:
    """The error for an HTTP answer that is not 2xx."""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = {"message": body[:500].decode(errors="replace")}
    if not isinstance(status, dict):
        status = {}
    status["code"] = code
    if code == 429:
        seconds = retry_after if retry_after and retry_after.isdecimal() else "1"
        return Throttled(f"{what}: {status.get('message', '')}", retry_after=float(seconds))
    return from_status(status, what)
