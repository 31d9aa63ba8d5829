"""Who may take a thread, and for how long. A slow or silent client starves nobody.

gRPC's synchronous server gives each call a thread of one pool before it has seen the request, and waits for that request
without a limit: as many half-open calls as threads, to any method, and Health is dead. So every method is served as one that
streams its requests (on the wire there is no difference), which lets us count and time the call before its first message.
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

from tambourinefs.bombshell.border import translated

log = logging.getLogger("bombshell.guard")

_MALFORMED: Final = object()


@dataclass(frozen=True, slots=True)
class Rule:
    """How many calls of a kind at a time, seconds without progress, seconds in all (0: no limit).

    Calls of an `idle` kind wait for nothing in particular and are ended first when the server stops.
    """

    kind: str
    calls: int
    stall: float
    total: float = 0.0
    idle: bool = False


class Lease:
    """One call that was let in, and when it is to be ended."""

    def __init__(self, rule: Rule, context: grpc.ServicerContext, pacer: Pacer) -> None:
        self._rule = rule
        self._pacer = pacer
        self.context = context
        self._end = time.monotonic() + rule.total if rule.total else float("inf")
        self.deadline = self._end

    def wait(self) -> None:
        """From now on it is the client's turn."""
        patience = min(self._rule.stall, self._pacer.patience)
        self.deadline = min(self._end, time.monotonic() + patience)
        self._pacer.expect(self.deadline)

    def work(self) -> None:
        """From now on it is ours (or nobody's: an idle watch)."""
        if self._rule.idle and self._pacer.patience != float("inf"):
            return  # the server stops, and the deadline is for that
        self.deadline = self._end

    def hurry(self, deadline: float) -> None:
        """The server stops: a call that waits for its client, or for nothing, has until then."""
        if self._rule.idle or self.deadline < self._end:
            self.deadline = min(self.deadline, deadline)

    def expire(self) -> None:
        """End the call; whoever waits for its client is woken by gRPC."""
        self.deadline = float("inf")
        if self._pacer.patience == float("inf"):
            log.warning("ended a call of kind %s without progress", self._rule.kind)
        self.context.cancel()


class Pacer:
    """One thread that ends calls whose time is over; it sleeps while none is due."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._leases: set[Lease] = set()
        self._wake_at = float("inf")
        self._stopping = False
        self.patience = float("inf")
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def hurry(self, patience: float) -> None:
        """The server stops: from now on wait for a client no longer than that, and end what is idle."""
        self.patience = patience
        deadline = time.monotonic() + patience
        with self._changed:
            for lease in self._leases:
                lease.hurry(deadline)
        self.expect(deadline)

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    @contextmanager
    def pacing(self, lease: Lease) -> Iterator[None]:
        """The lease counts while inside."""
        with self._changed:
            self._leases.add(lease)
        self.expect(lease.deadline)
        try:
            yield
        finally:
            with self._changed:
                self._leases.discard(lease)

    def expect(self, deadline: float) -> None:
        """Wake up by then."""
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
                due = [lease for lease in self._leases if lease.deadline <= now]
                rest = [lease.deadline for lease in self._leases if lease.deadline > now]
                self._wake_at = min(rest, default=float("inf"))
            for lease in due:
                lease.expire()
            self._sleep()

    def _sleep(self) -> None:
        with self._changed:
            left = self._wake_at - time.monotonic()
            if left > 0 and not self._stopping:
                self._changed.wait(None if left == float("inf") else left)


class Guard(grpc.ServerInterceptor):  # type: ignore[misc,unused-ignore]
    """Lets calls in by kind. `rules` are by full method name; `other` is for methods that it does not have."""

    def __init__(self, rules: dict[str, Rule], other: Rule) -> None:
        self.pacer = Pacer()
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
            with self._admitted(rule, context) as lease:
                paced = _paced(requests, lease)
                if handler.request_streaming:
                    return handler.stream_unary(paced, context)
                return handler.unary_unary(_only(paced), context)

        return serve

    def _streaming(self, handler: Any, rule: Rule) -> Callable[[Iterator[Any], Any], Iterator[Any]]:
        def serve(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            with self._admitted(rule, context) as lease:
                paced = _paced(requests, lease)
                if handler.request_streaming:
                    responses = handler.stream_stream(paced, context)
                else:
                    responses = handler.unary_stream(_only(paced), context)
                try:
                    for response in responses:
                        lease.wait()
                        yield response
                        lease.work()
                finally:
                    if hasattr(responses, "close"):
                        responses.close()

        return serve

    @contextmanager
    def _admitted(self, rule: Rule, context: grpc.ServicerContext) -> Iterator[Lease]:
        slots = self._slots[rule.kind]
        with translated(context, "", b""):
            if not slots.acquire(blocking=False):
                raise OSError(errno.EUSERS, f"more than {rule.calls} calls of this kind at a time")
            try:
                lease = Lease(rule, context, self.pacer)
                with self.pacer.pacing(lease):
                    yield lease
            finally:
                slots.release()


def _paced(requests: Iterator[Any], lease: Lease) -> Iterator[Any]:
    while True:
        lease.wait()
        request = next(requests, None)
        lease.work()
        if request is None:
            return
        if request is _MALFORMED:
            raise OSError(errno.EPROTO, "a message is not one of this method")
        yield request


def _only(requests: Iterator[Any]) -> Any:
    request = next(requests, None)
    if request is None:
        raise OSError(errno.EPROTO, "the call ended without a request")
    return request


def _lenient(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """What cannot be read is told to the caller; gRPC would log a traceback and end the requests as if the client had."""

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _MALFORMED

    return read
