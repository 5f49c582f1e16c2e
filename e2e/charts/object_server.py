"""As much of a Kubernetes API server as Helm needs to install, upgrade and remove a release.

Objects are kept as they are sent, and nothing else happens to them: no defaults, no admission.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

RESOURCES = {
    ("", "v1"): [
        ("Namespace", "namespaces", False),
        ("ConfigMap", "configmaps", True),
        ("Secret", "secrets", True),
        ("Service", "services", True),
        ("ServiceAccount", "serviceaccounts", True),
        ("PersistentVolumeClaim", "persistentvolumeclaims", True),
        ("Pod", "pods", True),
    ],
    ("apps", "v1"): [
        ("Deployment", "deployments", True),
        ("StatefulSet", "statefulsets", True),
        ("ReplicaSet", "replicasets", True),
    ],
    ("batch", "v1"): [("Job", "jobs", True)],
    ("policy", "v1"): [("PodDisruptionBudget", "poddisruptionbudgets", True)],
    ("networking.k8s.io", "v1"): [("NetworkPolicy", "networkpolicies", True), ("Ingress", "ingresses", True)],
    ("autoscaling", "v2"): [("HorizontalPodAutoscaler", "horizontalpodautoscalers", True)],
    ("rbac.authorization.k8s.io", "v1"): [
        ("Role", "roles", True),
        ("RoleBinding", "rolebindings", True),
        ("ClusterRole", "clusterroles", False),
        ("ClusterRoleBinding", "clusterrolebindings", False),
    ],
    ("apiextensions.k8s.io", "v1"): [
        ("CustomResourceDefinition", "customresourcedefinitions", False)
    ],
    ("monitoring.coreos.com", "v1"): [("ServiceMonitor", "servicemonitors", True)],
    ("gateway.networking.k8s.io", "v1"): [
        ("GatewayClass", "gatewayclasses", False),
        ("Gateway", "gateways", True),
        ("HTTPRoute", "httproutes", True),
    ],
    ("gateway.networking.k8s.io", "v1beta1"): [("ReferenceGrant", "referencegrants", True)],
    ("gateway.envoyproxy.io", "v1alpha1"): [
        ("EnvoyProxy", "envoyproxies", True),
        ("ClientTrafficPolicy", "clienttrafficpolicies", True),
        ("EnvoyExtensionPolicy", "envoyextensionpolicies", True),
    ],
    ("nvidia.com", "v1alpha1"): [("DynamoGraphDeployment", "dynamographdeployments", True)],
}  # fmt: skip
PATH = re.compile(
    r"^(?:/api/(?P<core>v1)|/apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?$"
)


def merged(base: object, patch: object) -> object:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@dataclass
class ObjectServer:
    """Use it in a `with` block; `objects` is what it keeps, by path."""

    folder: Path
    objects: dict[str, dict] = field(default_factory=dict)

    def __enter__(self) -> ObjectServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{self._server.server_port}"
        self.kubeconfig = self.folder / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": address}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def kinds(self) -> list[str]:
        """Kind and name of everything but the releases that Helm writes down."""
        return sorted(
            f"{found['kind']} {found['metadata']['name']}"
            for found in self.objects.values()
            if found.get("type") != "helm.sh/release.v1"
        )

    def one(self, kind: str) -> dict:
        (found,) = [each for each in self.objects.values() if each["kind"] == kind]
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                content = decoded(body) if body else None
                url = urlsplit(self.path)
                status, answer = server.answer(self.command, url.path, parse_qs(url.query), content)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        return Handler

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: dict | None
    ) -> tuple[int, dict]:
        if method == "GET" and (found := discovery(path)):
            return 200, found
        match = PATH.match(path)
        if match is None:
            return 404, status(404, "NotFound", path)
        if match["name"]:
            return self._object(method, path, body)
        if method == "POST":
            name = f"{path}/{body['metadata']['name']}"
            if name in self.objects:
                return 409, status(409, "AlreadyExists", name)
            return 201, self._store(name, body)
        return 200, self._list(path, query)

    def _object(self, method: str, path: str, body: dict | None) -> tuple[int, dict]:
        found = self.objects.get(path)
        if method == "PATCH" and body is not None:
            # Server-side apply names the object, and makes it where it is missing.
            if found is None and "kind" not in body:
                return 404, status(404, "NotFound", path)
            whole = "kind" in body and body.get("apiVersion") is not None
            return 200, self._store(path, body if whole else merged(found, body))
        if found is None:
            return 404, status(404, "NotFound", path)
        if method == "PUT":
            return 200, self._store(path, body)
        if method == "DELETE":
            del self.objects[path]
            return 200, status(200, "", path)
        return 200, found

    def _store(self, path: str, found: dict) -> dict:
        if match := PATH.match(path):
            if match["namespace"]:
                found["metadata"]["namespace"] = match["namespace"]
        found["metadata"].setdefault("uid", path)
        found["metadata"]["resourceVersion"] = str(len(self.objects) + 1)
        self.objects[path] = found
        return found

    def _list(self, path: str, query: dict[str, list[str]]) -> dict:
        selector = dict(part.split("=", 1) for part in query.get("labelSelector", [""])[0].split(",") if part)
        items = [
            found
            for name, found in self.objects.items()
            if name.rpartition("/")[0] == path
            and selector.items() <= found["metadata"].get("labels", {}).items()
        ]
        match = PATH.match(path)
        group, version = (match["group"] or "", match["core"] or match["version"])
        known = RESOURCES[group, version]
        (kind,) = [kind for kind, plural, _ in known if plural == match["plural"]]
        return {
            "kind": f"{kind}List",
            "apiVersion": f"{group}/{version}".lstrip("/"),
            "metadata": {"resourceVersion": "1"},
            "items": items,
        }


def decoded(body: bytes) -> dict:
    """JSON, YAML, or the protocol buffers in which Helm writes down its releases."""
    if not body.startswith(b"k8s\0"):
        return yaml.safe_load(body)
    # k8s.io/apimachinery runtime.Unknown: typeMeta = 1, raw = 2.
    envelope = fields(body[4:])
    kind = fields(envelope[1][0])[2][0].decode()
    if kind == "DeleteOptions":
        return {"kind": kind}
    assert kind == "Secret", f"{kind} is sent as protocol buffers"
    # v1.Secret: metadata = 1, data = 2, type = 3. v1.ObjectMeta: name = 1, labels = 11.
    secret = fields(envelope[2][0])
    metadata = fields(secret[1][0])
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": metadata[1][0].decode(),
            "labels": {key: value.decode() for key, value in mapped(metadata[11])},
        },
        "type": secret[3][0].decode(),
        "data": {key: base64.b64encode(value).decode() for key, value in mapped(secret[2])},
    }


def mapped(entries: list[bytes]) -> list[tuple[str, bytes]]:
    """The entries of a map field."""
    parsed = [fields(entry) for entry in entries]
    return [(entry[1][0].decode(), entry[2][0]) for entry in parsed]


def fields(message: bytes) -> dict[int, list[bytes]]:
    """The length-delimited fields of a message by number; others are left out."""
    found: dict[int, list[bytes]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            varint()
            continue
        assert tag & 7 == 2, f"wire type {tag & 7}"
        length = varint()
        found.setdefault(tag >> 3, []).append(message[at : at + length])
        at += length
    return found


def status(code: int, reason: str, what: str) -> dict:
    outcome = "Success" if code < 300 else "Failure"
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": outcome,
        "reason": reason,
        "message": f"{what}: {reason}",
        "code": code,
    }


def discovery(path: str) -> dict | None:
    """What the server says of itself."""
    if path == "/version":
        return {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
    if path == "/openapi/v3":
        # It knows no schemas, and says for each group that it validates what is sent.
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in group_paths()}}
    if path.startswith("/openapi/v3/"):
        return validated(path.removeprefix("/openapi/v3/"))
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions: dict[str, list[dict]] = {}
        for group, version in RESOURCES:
            each = {"groupVersion": f"{group}/{version}", "version": version}
            versions.setdefault(group, []).append(each)
        groups = [
            {"name": group, "versions": found, "preferredVersion": found[0]}
            for group, found in versions.items()
            if group
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    for (group, version), resources in RESOURCES.items():
        prefix = f"/apis/{group}/{version}" if group else f"/api/{version}"
        if path == prefix:
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{group}/{version}".lstrip("/"),
                "resources": [
                    {
                        "name": plural,
                        "singularName": kind.lower(),
                        "namespaced": namespaced,
                        "kind": kind,
                        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
                    }
                    for kind, plural, namespaced in resources
                ],
            }
    return None


def group_paths() -> list[str]:
    """Paths of the groups, as OpenAPI calls them."""
    return [f"apis/{group}/{version}" if group else f"api/{version}" for group, version in RESOURCES]


def validated(name: str) -> dict:
    """An OpenAPI document in which every kind of a group can be patched with `fieldValidation`."""
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {}
    for (group, version), resources in RESOURCES.items():
        prefix = f"apis/{group}/{version}" if group else f"api/{version}"
        if prefix != name:
            continue
        for kind, plural, namespaced in resources:
            place = f"/{prefix}/namespaces/{{namespace}}/{plural}" if namespaced else f"/{prefix}/{plural}"
            paths[f"{place}/{{name}}"] = {
                "patch": {
                    "parameters": [parameter],
                    "responses": {},
                    "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
                }
            }
    return {"openapi": "3.0.0", "info": {"title": "fake", "version": "v1"}, "paths": paths}
