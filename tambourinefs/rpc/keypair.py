"""Whether a certificate and a private key belong together, asked of OpenSSL: gRPC has loaded
Python's ssl anyway, while the library that makes our certificates would cost Bombshell 10 MiB for
this one question.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager


def matches(certificate_pem: bytes, key_pem: bytes) -> bool:
    """Do the first certificate and the private key belong together? False also where either cannot
    be parsed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")  # whether they are strong enough is not the question
    with _file(certificate_pem) as certificate, _file(key_pem) as key:
        try:
            # An encrypted key gets no password, instead of a question at the terminal.
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except ssl.SSLError:
            return False
    return True


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """The path of a file in memory: OpenSSL takes files alone, and those on disk may be others by
    now.
    """
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    with open(fd, "wb", buffering=0) as file:
        file.write(content)
        yield f"/proc/self/fd/{fd}"
