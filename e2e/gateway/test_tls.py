"""HTTPS on both sides, and HTTP/2."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import httpx2
import pytest

from certificates import Certificate, certificate
from gateway_process import Gateway
from prompts import user
from raw_http import post
from test_errors import CHAT
from upstream import Upstream

HELLO = {"model": "small", "messages": user("Hello")}
CONFIG = """
default_model: small
model_config: {small: {}}
tandem: {security: {jailbreak: {enabled: false}, pii: {enabled: false}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def https_flags(made: Certificate) -> tuple[str, ...]:
    return ("--tls-cert-path", str(made.cert), "--tls-key-path", str(made.key))


def url(gateway: Gateway, scheme: str) -> str:
    return f"{scheme}://127.0.0.1:{gateway.gateway}{CHAT}"


def shown(gateway: Gateway) -> bytes:
    """The certificate that a new connection sees."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", gateway.gateway), 10) as plain:
        with context.wrap_socket(plain) as connection:
            return connection.getpeercert(binary_form=True)


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_clients_speak_https(
    start_gateway, file: Path, tmp_path: Path, upstream: Upstream, http2: bool
) -> None:
    made = certificate(tmp_path / "tls")
    flags = https_flags(made)
    trust = ssl.create_default_context(cafile=made.cert)
    with start_gateway(file, "--upstream", f"http://127.0.0.1:{upstream.port}", *flags) as gateway:
        with httpx2.Client(http2=http2, verify=trust) as client:
            for _ in range(3):
                answer = client.post(url(gateway, "https"), json=HELLO)
                assert answer.status_code == 200
                assert answer.json()["choices"][0]["message"]["content"] == "Hello"
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")


def test_http2_without_tls(start_gateway, file: Path, upstream: Upstream) -> None:
    with start_gateway(file, "--upstream", f"http://127.0.0.1:{upstream.port}") as gateway:
        with httpx2.Client(http1=False, http2=True) as client:
            answer = client.post(url(gateway, "http"), json=HELLO)
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    assert answer.headers["x-vsr-selected-model"] == "small"
    assert "connection" not in answer.headers


def test_a_new_certificate_is_taken_over(
    start_gateway, file: Path, tmp_path: Path, upstream: Upstream
) -> None:
    made = certificate(tmp_path / "tls", "first")
    flags = https_flags(made)
    with start_gateway(file, "--upstream", f"http://127.0.0.1:{upstream.port}", *flags) as gateway:
        trust = ssl.create_default_context(cafile=made.cert)
        first = shown(gateway)
        assert first == ssl.PEM_cert_to_DER_cert(made.cert.read_text())
        with httpx2.Client(verify=trust) as old:
            assert old.post(url(gateway, "https"), json=HELLO).status_code == 200
            certificate(tmp_path / "tls", "second")
            second = ssl.PEM_cert_to_DER_cert(made.cert.read_text())
            assert gateway.log.wait_for("took over a new certificate")
            assert shown(gateway) == second != first
            # A connection that was open goes on.
            assert old.post(url(gateway, "https"), json=HELLO).status_code == 200


def test_servers_are_trusted_by_their_authority(
    start_gateway, file: Path, tmp_path: Path
) -> None:
    made = certificate(tmp_path / "server")
    server = Upstream(tls=(made.cert, made.key))
    try:
        flags = ("--upstream", f"https://127.0.0.1:{server.port}")
        with start_gateway(file, *flags, "--upstream-ca", str(made.cert)) as gateway:
            assert post(gateway.gateway, CHAT, HELLO).status == 200
        assert server.last().json()["model"] == "small"
        with start_gateway(file, *flags) as gateway:
            assert post(gateway.gateway, CHAT, HELLO).status == 502
        assert server.nothing(), "a stranger was shown a prompt"
    finally:
        server.close()
