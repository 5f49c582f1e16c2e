"""A real Envoy in front of the router, with the filter settings of the seeds' EnvoyPatchPolicy."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from raw_http import request
from tandem_process import Lines

START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
TYPES = "type.googleapis.com/envoy.extensions"
SUBSET_NAMESPACE = "envoy.lb.subset_hint"
BUFFER_LIMIT = 50 << 20
"""`connection.bufferLimit` of the seeds' ClientTrafficPolicy."""


@dataclass(frozen=True)
class Door:
    """One listener: which router decides, which upstream answers, and how bodies are shown.

    Without a router nobody decides. Without an upstream the router picks one, by `header` or by
    `metadata`; with an `answer` Envoy gives it itself.
    """

    router: int | None
    upstream: int | None
    request_body: str = "BUFFERED"
    response_body: str = "BUFFERED"
    failure_mode_allow: bool = False
    tls: bool = False
    buffer_limit: int = BUFFER_LIMIT
    picked_by: str = "header"
    subset: tuple[str, ...] | None = None
    """Endpoints of which the router must pick one."""
    answer: str | None = None


def _cluster(name: str, port: int, *, http2: bool = False, tls: bool = False) -> dict:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    cluster = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "60s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if http2:
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    if tls:
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {"alpn_protocols": ["h2"]},
            },
        }
    return cluster


def _picked_cluster(name: str, picked_by: str) -> dict:
    """A cluster without hosts: the router says where each request goes."""
    destination = "x-gateway-destination-endpoint"
    by = {
        "header": {"use_http_header": True, "http_header_name": destination},
        "metadata": {"metadata_key": {"key": "envoy.lb", "path": [{"key": destination}]}},
    }
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "connect_timeout": "5s",
        "lb_policy": "CLUSTER_PROVIDED",
        "original_dst_lb_config": by[picked_by],
    }


def _filter(name: str, door: Door) -> dict:
    duplex = "FULL_DUPLEX_STREAMED"
    trailers = {
        "request_trailer_mode": "SEND" if door.request_body == duplex else "SKIP",
        "response_trailer_mode": "SEND" if door.response_body == duplex else "SKIP",
    }
    return {
        "name": "semantic-router-extproc",
        "typed_config": {
            "@type": f"{TYPES}.filters.http.ext_proc.v3.ExternalProcessor",
            "allow_mode_override": True,
            "failure_mode_allow": door.failure_mode_allow,
            "grpc_service": {
                "envoy_grpc": {
                    "cluster_name": f"router-{name}",
                    "authority": "semantic-router.vllm-semantic-router-system:50051",
                },
                "timeout": "60s",
            },
            "message_timeout": "60s",
            "metadata_options": {
                "forwarding_namespaces": {"untyped": ["envoy.lb", SUBSET_NAMESPACE]},
                "receiving_namespaces": {"untyped": ["envoy.lb"]},
            },
            "processing_mode": {
                "request_header_mode": "SEND",
                "request_body_mode": door.request_body,
                "response_header_mode": "SEND",
                "response_body_mode": door.response_body,
                **trailers,
            },
        },
    }


def _subset(subset: tuple[str, ...]) -> dict:
    """A filter that says which endpoints may be picked."""
    value = {"x-gateway-destination-endpoint-subset": list(subset)}
    return {
        "name": "envoy.filters.http.set_metadata",
        "typed_config": {
            "@type": f"{TYPES}.filters.http.set_metadata.v3.Config",
            "metadata": [{"metadata_namespace": SUBSET_NAMESPACE, "value": value}],
        },
    }


def _route(name: str, door: Door) -> dict:
    if door.answer is None:
        return {"match": {"prefix": "/"}, "route": {"cluster": f"upstream-{name}", "timeout": "60s"}}
    form = {"header": {"key": "content-type", "value": "application/json"}}
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": door.answer}},
        "response_headers_to_add": [{**form, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }


def _listener(name: str, door: Door) -> dict:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
    }
    # Without it Envoy would answer before it has the body, and hang up.
    buffer = {
        "name": "envoy.filters.http.buffer",
        "typed_config": {
            "@type": f"{TYPES}.filters.http.buffer.v3.Buffer",
            "max_request_bytes": BUFFER_LIMIT,
        },
    }
    first = buffer if door.router is None else _filter(name, door)
    hosts = [{"name": name, "domains": ["*"], "routes": [_route(name, door)]}]
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [
            *([] if door.subset is None else [_subset(door.subset)]),
            first,
            router,
        ],
    }
    network = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "per_connection_buffer_limit_bytes": door.buffer_limit,
        "filter_chains": [{"filters": [network]}],
    }


def config(doors: dict[str, Door]) -> dict:
    """What Envoy is told."""
    clusters = []
    for name, door in doors.items():
        if door.router is not None:
            clusters.append(_cluster(f"router-{name}", door.router, http2=True, tls=door.tls))
        if door.upstream is not None:
            clusters.append(_cluster(f"upstream-{name}", door.upstream))
        elif door.answer is None:
            clusters.append(_picked_cluster(f"upstream-{name}", door.picked_by))
    listeners = [_listener(name, door) for name, door in doors.items()]
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


@dataclass
class Envoy:
    """An Envoy process; `port(name)` is where it listens for the door of that name."""

    doors: dict[str, Door]
    ports: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Envoy:
        envoy = pytest.importorskip("envoy", reason="PyPI has no Envoy for this machine")
        self._directory = tempfile.TemporaryDirectory(prefix="envoy")
        root = Path(self._directory.name)
        (root / "envoy.json").write_text(json.dumps(config(self.doors)))
        command = [str(Path(envoy.__file__).parent / "_bin/envoy"), "-c", str(root / "envoy.json")]
        command += ["--disable-hot-restart", "--concurrency", "2", "-l", "warning"]
        command += ["--admin-address-path", str(root / "admin")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self.log = Lines(self.process.stderr)
        try:
            self._wait(root / "admin")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self, admin: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.05)
            if not admin.exists() or ":" not in (address := admin.read_text()):
                continue
            port = int(address.rpartition(":")[2])
            found = request(port, "GET", "/listeners?format=json").json()
            self.ports = {
                listener["name"]: listener["local_address"]["socket_address"]["port_value"]
                for listener in found.get("listener_statuses", [])
            }
            ready = request(port, "GET", "/ready").text.startswith("LIVE")
            if ready and set(self.ports) == set(self.doors):
                return
        raise AssertionError("envoy did not start:\n" + "\n".join(self.log.since()[-40:]))

    def port(self, name: str) -> int:
        return self.ports[name]

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._directory.cleanup()
