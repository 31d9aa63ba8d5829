"""Admits calls to the threads of the server, and ends those without progress: a slow client must
not block others.

gRPC's synchronous server gives each call a thread of one pool before it has seen the request, and
waits for that request without a limit: with as many half-open calls as threads, to any method,
Health stops answering. So every method is served as one that streams its requests (the same on the
wire): the call is counted and timed before its first message.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from tambourinefs.bombshell.edge import translated

log = logging.getLogger("bombshell.guard")

_MALFORMED: Final = object()


@dataclass(frozen=True, slots=True)
class Rule:
    """How many calls of a kind at a time, seconds without progress, seconds in all (0: no limit).

    Calls of an `idle` kind only wait for events and are ended first when the server stops.
    """

    kind: str
    calls: int
    stall: float
    total: float = 0.0
    idle: bool = False


class Call:
    """One admitted call, and its deadline."""

    def __init__(self, rule: Rule, context: grpc.ServicerContext, deadlines: Deadlines) -> None:
        self._rule = rule
        self._deadlines = deadlines
        self.context = context
        self._end = time.monotonic() + rule.total if rule.total else float("inf")
        self.deadline = self._end

    def client_turn(self) -> None:
        """The call waits for its client: the deadline for progress holds."""
        patience = min(self._rule.stall, self._deadlines.patience)
        self.deadline = min(self._end, time.monotonic() + patience)
        self._deadlines.expect(self.deadline)

    def server_turn(self) -> None:
        """The server works, or the call is idle: only the total deadline holds."""
        if self._rule.idle and self._deadlines.patience != float("inf"):
            return  # the server stops: keep its deadline
        self.deadline = self._end

    def shorten(self, deadline: float) -> None:
        """The server stops: a call that is idle or waits for its client ends by then."""
        if self._rule.idle or self.deadline < self._end:
            self.deadline = min(self.deadline, deadline)

    def expire(self) -> None:
        """End the call; gRPC wakes the thread that waits for its client."""
        self.deadline = float("inf")
        if self._deadlines.patience == float("inf"):
            log.warning("ended a call of kind %s without progress", self._rule.kind)
        self.context.cancel()


class Deadlines:
    """One thread that ends calls at their deadlines; it sleeps while none is due."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: set[Call] = set()
        self._wake_at = float("inf")
        self._stopping = False
        self.patience = float("inf")
        self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def shorten(self, patience: float) -> None:
        """The server stops: wait for a client no longer than that from now on, and end idle calls."""
        self.patience = patience
        deadline = time.monotonic() + patience
        with self._changed:
            for call in self._calls:
                call.shorten(deadline)
        self.expect(deadline)

    def stop(self) -> None:
        """Stop the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    @contextmanager
    def tracking(self, call: Call) -> Iterator[None]:
        """The call's deadline holds while inside."""
        with self._changed:
            self._calls.add(call)
        self.expect(call.deadline)
        try:
            yield
        finally:
            with self._changed:
                self._calls.discard(call)

    def expect(self, deadline: float) -> None:
        """Wake the thread by then."""
        with self._changed:
            if deadline < self._wake_at:
                self._wake_at = deadline
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                now = time.monotonic()
                due = [call for call in self._calls if call.deadline <= now]
                rest = [call.deadline for call in self._calls if call.deadline > now]
                self._wake_at = min(rest, default=float("inf"))
            for call in due:
                call.expire()
            self._sleep()

    def _sleep(self) -> None:
        with self._changed:
            left = self._wake_at - time.monotonic()
            if left > 0 and not self._stopping:
                self._changed.wait(None if left == float("inf") else left)


class Guard(grpc.ServerInterceptor):  # type: ignore[misc,unused-ignore]
    """Admits calls by kind. `rules` are by full method name; `other` is for methods without one."""

    def __init__(self, rules: dict[str, Rule], other: Rule) -> None:
        self.deadlines = Deadlines()
        self._rules = rules
        self._other = other
        kinds = {rule.kind: rule.calls for rule in (*rules.values(), other)}
        self._slots = {kind: threading.BoundedSemaphore(calls) for kind, calls in kinds.items()}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """grpc.ServerInterceptor: the same method, counted and timed."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        assert handler.request_deserializer is not None  # every method here has a message type
        rule = self._rules.get(handler_call_details.method, self._other)
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        behaviour = self._streaming if handler.response_streaming else self._single
        return make(
            behaviour(handler, rule),
            request_deserializer=_lenient(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _single(self, handler: Any, rule: Rule) -> Callable[[Iterator[Any], Any], Any]:
        def serve(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            with self._admitted(rule, context) as call:
                timed = _timed(requests, call)
                if handler.request_streaming:
                    return handler.stream_unary(timed, context)
                return handler.unary_unary(_only(timed), context)

        return serve

    def _streaming(self, handler: Any, rule: Rule) -> Callable[[Iterator[Any], Any], Iterator[Any]]:
        def serve(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            with self._admitted(rule, context) as call:
                timed = _timed(requests, call)
                if handler.request_streaming:
                    responses = handler.stream_stream(timed, context)
                else:
                    responses = handler.unary_stream(_only(timed), context)
                try:
                    for response in responses:
                        call.client_turn()
                        yield response
                        call.server_turn()
                finally:
                    if hasattr(responses, "close"):
                        responses.close()

        return serve

    @contextmanager
    def _admitted(self, rule: Rule, context: grpc.ServicerContext) -> Iterator[Call]:
        slots = self._slots[rule.kind]
        with translated(context, "", b""):
            if not slots.acquire(blocking=False):
                raise OSError(
                    errno.EUSERS,
                    f"more than {rule.calls} calls of this kind at a time; try again later",
                )
            try:
                call = Call(rule, context, self.deadlines)
                with self.deadlines.tracking(call):
                    yield call
            finally:
                slots.release()


def _timed(requests: Iterator[Any], call: Call) -> Iterator[Any]:
    while True:
        call.client_turn()
        request = next(requests, None)
        call.server_turn()
        if request is None:
            return
        if request is _MALFORMED:
            raise OSError(errno.EPROTO, "a message has the wrong type for this method")
        yield request


def _only(requests: Iterator[Any]) -> Any:
    request = next(requests, None)
    if request is None:
        raise OSError(errno.EPROTO, "the call ended without a request")
    return request


def _lenient(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A malformed message becomes an error of the call; gRPC would log a traceback and end the
    requests as if complete.
    """

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _MALFORMED

    return read
