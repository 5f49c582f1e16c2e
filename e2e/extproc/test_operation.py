"""The life of a router: TLS, changes of its configuration, its end."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

import pytest

from envoy_process import Door, Envoy
from router_process import ROUTES
from prompts import user
from raw_http import EventStream, post, request
from test_errors import CHAT
from upstream import Stream, Upstream

HELLO = {"model": "small", "messages": user("Hello")}


def test_a_stopped_router_fails_closed_or_open(start_router, routes, upstream: Upstream) -> None:
    with start_router(routes) as router:
        doors = {
            "closed": Door(router.extproc, upstream.port),
            "open": Door(router.extproc, upstream.port, failure_mode_allow=True),
        }
        with Envoy(doors) as envoy:
            for name in doors:
                assert post(envoy.port(name), CHAT, HELLO).status == 200
            router.signal(signal.SIGTERM)
            assert router.wait(10) == 0
            upstream.reset()
            closed = post(envoy.port("closed"), CHAT, HELLO)
            assert closed.status in (500, 503), closed
            assert upstream.nothing(), "a prompt got past the router"
            assert post(envoy.port("open"), CHAT, HELLO).status == 200
            assert "x-selected-model" not in upstream.last().headers


@pytest.mark.parametrize("kept", [False, True], ids=["self-signed", "from files"])
def test_tls(start_router, routes, upstream: Upstream, tmp_path: Path, kept: bool) -> None:
    flags = ["--secure"]
    if kept:
        flags += ["--cert-path", str(certificate(tmp_path))]
    with start_router(routes, *flags) as router:
        with Envoy({"tls": Door(router.extproc, upstream.port, tls=True)}) as envoy:
            response = post(envoy.port("tls"), CHAT, HELLO)
    assert response.status == 200
    assert response.headers["x-vsr-selected-model"] == "small"


def certificate(directory: Path) -> Path:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=router", "-days", "1",
         "-keyout", directory / "tls.key", "-out", directory / "tls.crt"],
        check=True, capture_output=True,
    )
    return directory


def test_a_change_of_the_configuration_disturbs_nobody(
    start_router, upstream: Upstream, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(ROUTES)
    ask = {"model": "MoM", "messages": user("Hello there.")}
    statuses: list[int] = []
    models: set[str] = set()
    stop = threading.Event()
    with start_router(config) as router:
        with Envoy({"door": Door(router.extproc, upstream.port)}) as envoy:

            def traffic() -> None:
                while not stop.is_set():
                    response = post(envoy.port("door"), CHAT, ask)
                    statuses.append(response.status)
                    models.add(response.headers.get("x-vsr-selected-model", ""))

            threads = [threading.Thread(target=traffic) for _ in range(4)]
            for thread in threads:
                thread.start()
            reloads = "tandem_router_config_reloads_total"
            config.write_text(ROUTES.replace("default_model: small", "default_model: big"))
            router.wait_for_count(reloads, 1, result="success")
            mark = router.log.mark()
            config.write_text("default_model: [")
            router.wait_for_count(reloads, 1, result="failure")
            assert router.log.wait_for("config_reload_failed", mark)
            assert router.count("tandem_router_config_last_reload_successful") == 0
            after = post(envoy.port("door"), CHAT, ask)
            stop.set()
            for thread in threads:
                thread.join()
    assert after.headers["x-vsr-selected-model"] == "big", "the last good one stays"
    assert len(statuses) > 20
    assert set(statuses) == {200}
    assert models == {"small", "big"}


def test_a_router_that_stops_lets_streams_end(start_router, routes, upstream: Upstream) -> None:
    with start_router(routes) as router:
        with Envoy({"door": Door(router.extproc, upstream.port)}) as envoy:
            upstream.stream = Stream()
            upstream.stream.send("first")
            with EventStream(envoy.port("door"), CHAT, {**HELLO, "stream": True}) as stream:
                next(stream.chunks())
                router.signal(signal.SIGTERM)
                assert router.log.wait_for("stopping")
                assert request(router.api, "GET", "/ready").status == 503
                upstream.stream.send("[DONE]")
                upstream.stream.end()
                rest = b"".join(piece for _, piece in stream.chunks())
                assert b"[DONE]" in rest
                assert stream.complete
            assert router.wait(10) == 0


def test_a_wrong_start_says_what_to_do(run, tmp_path: Path, routes: Path) -> None:
    def failed(*flags: str) -> str:
        with run("router", "--port", "0", "--api-port", "0", "--metrics-port", "0", *flags) as one:
            assert one.wait(20) == 1
            return one.story()

    assert "--config" in failed("--config", str(tmp_path / "nowhere.yaml"))
    (tmp_path / "bad.yaml").write_text("decisions: 1\nno_such_key: 2\n")
    story = failed("--config", str(tmp_path / "bad.yaml"))
    assert "decisions" in story and "line 1" in story, story
    assert "tls.crt" in failed("--config", str(routes), "--secure", "--cert-path", str(tmp_path))
