"""A bare Debian gets this machine's network settings, and nothing else of its environment."""

from __future__ import annotations

from tests.fresh import settings


def test_only_variables_of_the_network_are_given() -> None:
    network = {
        "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        "REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt",
        "https_proxy": "http://proxy.example:3128",
        "NO_PROXY": "localhost",
        "GOPROXY": "off",
    }
    other = {"HOME": "/root", "PATH": "/usr/bin", "TAMBOURINE_LAB": "x", "GOFLAGS": "-v"}
    assert settings.environment(network | other) == network


def test_of_apt_the_proxies_and_authorities_are_given() -> None:
    dump = (
        'APT::Architecture "amd64";\n'
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::https::CaInfo "/etc/ssl/certs/ca-certificates.crt";\n'
        'Acquire::Languages "none";\n'
    )
    assert [line.split()[0] for line in settings.apt(dump).splitlines()] == [
        "Acquire::http::Proxy",
        "Acquire::https::CaInfo",
    ]


def test_directories_with_wheels_are_shown_and_addresses_are_not() -> None:
    given = {"PIP_FIND_LINKS": "/opt/wheels https://wheels.example/"}
    assert settings.wheel_directories(given) == ["/opt/wheels"]
