"""A server that behaves like the Kubernetes API, for any kind of object.

It keeps objects in a dictionary and knows lists and watches with resource versions, server-side apply,
merge patches, optimistic locking, the status subresource, finalizers, garbage collection by owner
references, outages, lost history and refusals. It knows no schemas and runs no controllers: tests
play those.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PATH = re.compile(
    r"^/(?P<group>api/v1|apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<subresource>status|scale))?$"
)
LONGEST_WATCH = 300.0


@dataclass(frozen=True, order=True)
class Key:
    """Where an object is: `Key("apps/v1", "deployments", "worker", "default")`."""

    api_version: str
    resource: str
    name: str
    namespace: str = ""


@dataclass(frozen=True)
class Collection:
    """The objects of a resource, in one namespace or in all."""

    api_version: str
    resource: str
    namespace: str = ""

    def holds(self, key: Key) -> bool:
        same = (key.api_version, key.resource) == (self.api_version, self.resource)
        return same and self.namespace in ("", key.namespace)


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {
            "apiVersion": "v1", "kind": "Status", "status": "Failure",
            "code": code, "reason": reason, "message": message,
        }  # fmt: skip


class Store:
    """The objects, and how they have changed."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.version = 0
        self.objects: dict[Key, dict] = {}
        self.applied: dict[tuple[Key, str], dict] = {}
        self.changes: list[tuple[int, Key, dict | None, dict | None]] = []
        self.compacted = 0
        self._uids = (str(uuid.UUID(int=number)) for number in itertools.count(1))

    def get(self, key: Key) -> dict | None:
        with self.changed:
            return copy.deepcopy(self.objects.get(key))

    def list(self, collection: Collection) -> list[dict]:
        with self.changed:
            found = [self.objects[key] for key in sorted(self.objects) if collection.holds(key)]
            return copy.deepcopy(found)

    def put(self, key: Key, wanted: dict) -> dict:
        """Creates or replaces an object; fails if it was read from an older one."""
        with self.changed:
            wanted, before = copy.deepcopy(wanted), self.objects.get(key)
            metadata = wanted.setdefault("metadata", {})
            seen = metadata.get("resourceVersion")
            if seen and (before is None or before["metadata"]["resourceVersion"] != seen):
                raise Refused(409, "Conflict", f"{key.name} has changed meanwhile")
            old = before["metadata"] if before else {
                "uid": next(self._uids), "creationTimestamp": "2024-01-01T00:00:00Z",
                "resourceVersion": None, "generation": 0,
            }  # fmt: skip
            metadata |= {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
            for name in ("uid", "creationTimestamp", "resourceVersion", "generation"):
                metadata[name] = old[name]
            if "deletionTimestamp" in old:
                metadata["deletionTimestamp"] = old["deletionTimestamp"]
            if before is None or before.get("spec") != wanted.get("spec"):
                metadata["generation"] = old["generation"] + 1
            if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
                return self._remove(key)
            if wanted == before:
                return copy.deepcopy(wanted)
            return self._commit(key, before, wanted)

    def delete(self, key: Key, uid: str | None = None) -> dict:
        """Removes an object, and what only it owns; waits for finalizers."""
        with self.changed:
            before = self.objects.get(key)
            if before is None:
                raise Refused(404, "NotFound", f'{key.resource} "{key.name}" not found')
            if uid and before["metadata"]["uid"] != uid:
                raise Refused(409, "Conflict", "the UID in the precondition does not match")
            if before["metadata"].get("finalizers"):
                after = copy.deepcopy(before)
                after["metadata"].setdefault("deletionTimestamp", "2024-01-01T00:00:00Z")
                return after if after == before else self._commit(key, before, after)
            return self._remove(key)

    def apply(self, key: Key, manager: str, config: dict) -> dict:
        """Server-side apply: what `manager` applied before and does not now is removed."""
        with self.changed:
            base = self.objects.get(key, {})
            live = withdrawn(base, self.applied.get((key, manager), {}), config)
            self.applied[key, manager] = copy.deepcopy(config)
            return self.put(key, merged(live, config))

    def _remove(self, key: Key) -> dict:
        gone = self.objects[key]
        self._commit(key, gone, None)
        self.applied = {of: config for of, config in self.applied.items() if of[0] != key}
        for other, owned in list(self.objects.items()):
            owners = owned["metadata"].get("ownerReferences", [])
            if owners and all(owner["uid"] == gone["metadata"]["uid"] for owner in owners):
                if other in self.objects:
                    self.delete(other)
        return gone

    def _commit(self, key: Key, before: dict | None, after: dict | None) -> dict:
        self.version += 1
        if after is None:
            del self.objects[key]
        else:
            after["metadata"]["resourceVersion"] = str(self.version)
            self.objects[key] = after
        self.changes.append((self.version, key, before, after))
        self.changed.notify_all()
        return copy.deepcopy(after or before)


def identity(items: list) -> str | None:
    """The member that tells the items of a list apart, as far as server-side apply knows one."""
    for name in ("uid", "name"):
        if items and all(isinstance(item, dict) and name in item for item in items):
            return name
    return None


def withdrawn(live, before, now):
    """`live` without what `before` has and `now` has not."""
    if isinstance(live, dict) and isinstance(before, dict):
        now = now if isinstance(now, dict) else {}
        kept = {}
        for name, value in live.items():
            if name in before and name not in now:
                continue
            kept[name] = withdrawn(value, before[name], now[name]) if name in before else value
        return kept
    if isinstance(live, list) and isinstance(before, list) and (name := identity(live)):
        now = now if isinstance(now, list) else []
        dropped = {item.get(name) for item in before} - {item.get(name) for item in now}
        return [item for item in live if item[name] not in dropped]
    return live


def merged(live, config):
    """`live` with what `config` says."""
    if isinstance(live, dict) and isinstance(config, dict):
        fields = {name: merged(live.get(name), value) for name, value in config.items()}
        return live | fields
    if isinstance(live, list) and isinstance(config, list):
        name = identity(config)
        if name and name == identity(live):
            items = {item[name]: item for item in live}
            for item in config:
                items[item[name]] = merged(items.get(item[name]), item)
            return list(items.values())
    return copy.deepcopy(config)


def patched(live, patch):
    """A JSON merge patch, RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    fields = dict(live) if isinstance(live, dict) else {}
    for name, value in patch.items():
        if value is None:
            fields.pop(name, None)
        else:
            fields[name] = patched(fields.get(name), value)
    return fields


def selector(query: dict[str, str]) -> Callable[[dict | None], bool]:
    """Whether an object has the labels and fields that a query asks for."""
    labels = [part for part in query.get("labelSelector", "").split(",") if part]
    fields = [part for part in query.get("fieldSelector", "").split(",") if part]

    def field(found: dict, path: str) -> str:
        for name in path.split("."):
            found = found.get(name, {})
        return str(found)

    def selects(found: dict | None) -> bool:
        if found is None:
            return False
        own = found["metadata"].get("labels") or {}
        for part in labels:
            name, equals, value = part.replace("==", "=").partition("=")
            if name not in own or (equals and own[name] != value):
                return False
        pairs = (part.replace("==", "=").split("=", 1) for part in fields)
        return all(field(found, path) == value for path, value in pairs)

    return selects


class ApiServer:
    """The server, on a port of its own that it keeps when it goes away and comes back."""

    def __init__(self) -> None:
        self.store = Store()
        self.port = 0
        self.requests: list[tuple[str, str]] = []
        """Verb and resource of each request so far."""
        self._refused: dict[tuple[str, str], int] = {}
        self._server: _Server | None = None
        self.start()

    def start(self) -> None:
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Goes away; connections break off. Nothing is lost."""
        server, self._server = self._server, None
        if server:
            server.shutdown()
            server.server_close()
            server.break_connections()

    def compact(self) -> None:
        """Forgets how things have changed: watches cannot go on where they were."""
        with self.store.changed:
            self.store.compacted = self.store.version
            self.store.changes.clear()

    def refuse(self, verb: str, resource: str, code: int = 403) -> None:
        self._refused[verb, resource] = code

    def allow_all(self) -> None:
        self._refused.clear()

    def kubeconfig(self, path: Path) -> Path:
        """Writes how to reach the server."""
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        context = {"cluster": "test", "user": "test"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "contexts": [{"name": "test", "context": context}],
            "users": [{"name": "test", "user": {"token": "secret"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def check(self, verb: str, resource: str) -> None:
        self.requests.append((verb, resource))
        code = self._refused.get((verb, resource))
        if code == 403:
            raise Refused(403, "Forbidden", f'User "x" cannot {verb} resource "{resource}"')
        if code:
            raise Refused(code, "Refused", "as the test wants it")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self._connections: set[socket.socket] = set()
        self._broken = False
        super().__init__(("127.0.0.1", api.port), _Handler)

    def process_request(self, request, client_address) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address) -> None:
        """Clients may hang up; other failures show."""
        if not self._broken:
            super().handle_error(request, client_address)

    def break_connections(self) -> None:
        self._broken = True
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It was closed already.

    @property
    def broken(self) -> bool:
        return self._broken


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:  # noqa: N802
        self._answer(self._get)

    def do_POST(self) -> None:  # noqa: N802
        self._answer(self._create)

    def do_PUT(self) -> None:  # noqa: N802
        self._answer(self._replace)

    def do_PATCH(self) -> None:  # noqa: N802
        self._answer(self._patch)

    def do_DELETE(self) -> None:  # noqa: N802
        self._answer(self._delete)

    def _answer(self, method: Callable[[], dict | None]) -> None:
        split = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(split.query).items()}
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.store = self.server.api.store
        try:
            found = PATH.match(unquote(split.path))
            if found is None:
                raise Refused(404, "NotFound", "the server could not find the requested resource")
            self.api_version = found["group"].split("/", 1)[1]
            self.namespace = found["namespace"] or ""
            self.resource, self.name = found["resource"], found["name"]
            self.subresource = found["subresource"]
            answer = method()
        except Refused as refused:
            self._send(refused.status["code"], refused.status)
        except (BrokenPipeError, ConnectionError):
            self.close_connection = True
        else:
            if answer is not None:
                self._send(200, answer)

    def _send(self, code: int, answer: dict) -> None:
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @property
    def _key(self) -> Key:
        return Key(self.api_version, self.resource, self.name, self.namespace)

    def _get(self) -> dict | None:
        if self.name:
            self.server.api.check("get", self.resource)
            if (found := self.store.get(self._key)) is None:
                message = f'{self.resource} "{self.name}" not found'
                raise Refused(404, "NotFound", message)
            return found
        collection = Collection(self.api_version, self.resource, self.namespace)
        if self.query.get("watch") in ("true", "1"):
            self.server.api.check("watch", self.resource)
            return self._watch(collection)
        self.server.api.check("list", self.resource)
        with self.store.changed:
            found = [it for it in self.store.list(collection) if selector(self.query)(it)]
            start = int(self.query.get("continue") or 0)
            end = start + int(self.query.get("limit") or len(found) or 1)
            metadata = {"resourceVersion": str(self.store.version)}
            if end < len(found):
                metadata["continue"] = str(end)
        kind = {"apiVersion": self.api_version, "kind": "List", "metadata": metadata}
        return kind | {"items": found[start:end]}

    def _watch(self, collection: Collection) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        selects = selector(self.query)
        told = int(self.query.get("resourceVersion") or 0)
        end = time.monotonic() + float(self.query.get("timeoutSeconds") or LONGEST_WATCH)
        while not self.server.broken:
            with self.store.changed:
                if told < self.store.compacted:
                    gone = Refused(410, "Expired", "too old resource version").status
                    self._tell("ERROR", gone)
                    break
                news = [change for change in self.store.changes if change[0] > told]
                if not news:
                    left = end - time.monotonic()
                    if left <= 0:
                        self._bookmark(told)
                        break
                    # Looks up now and then, because a broken connection wakes nobody.
                    self.store.changed.wait(min(left, 0.2))
                    continue
            for told, key, before, after in news:
                if not collection.holds(key):
                    continue
                if selects(after):
                    self._tell("MODIFIED" if selects(before) else "ADDED", after)
                elif selects(before):
                    before = copy.deepcopy(before)
                    before["metadata"]["resourceVersion"] = str(told)
                    self._tell("DELETED", before)
        self.wfile.write(b"0\r\n\r\n")

    def _bookmark(self, version: int) -> None:
        metadata = {"resourceVersion": str(version)}
        kind = {"apiVersion": self.api_version, "kind": "Bookmark", "metadata": metadata}
        self._tell("BOOKMARK", kind)

    def _tell(self, kind: str, found: dict) -> None:
        line = json.dumps({"type": kind, "object": found}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()

    def _create(self) -> dict:
        self.server.api.check("create", self.resource)
        wanted = json.loads(self.body)
        metadata = wanted["metadata"]
        self.name = metadata.get("name") or metadata["generateName"] + uuid.uuid4().hex[:5]
        with self.store.changed:
            if self.store.get(self._key) is not None:
                message = f'{self.resource} "{self.name}" already exists'
                raise Refused(409, "AlreadyExists", message)
            return self.store.put(self._key, wanted)

    def _replace(self) -> dict:
        self.server.api.check("update", self.resource)
        with self.store.changed:
            return self.store.put(self._key, self._part(json.loads(self.body)))

    def _patch(self) -> dict:
        self.server.api.check("patch", self.resource)
        patch, kind = json.loads(self.body), self.headers["content-type"]
        with self.store.changed:
            if kind.startswith("application/apply-patch"):
                if self.subresource:
                    patch = {name: value for name, value in patch.items() if name != "spec"}
                manager = self.query["fieldManager"] + (self.subresource or "")
                return self.store.apply(self._key, manager, patch)
            if kind.startswith("application/merge-patch"):
                live = self.store.get(self._key)
                if live is None:
                    raise Refused(404, "NotFound", f'{self.resource} "{self.name}" not found')
                return self.store.put(self._key, self._part(patched(live, patch)))
        raise Refused(415, "UnsupportedMediaType", f"{kind} is not supported here")

    def _part(self, wanted: dict) -> dict:
        """What the request may change: the status, or all but the status."""
        live = self.store.get(self._key) or {}
        if self.subresource == "status":
            version = wanted.get("metadata", {}).get("resourceVersion")
            live = live | {"status": wanted.get("status")}
            live["metadata"] = live["metadata"] | {"resourceVersion": version}
            return live
        kept = {"status": live["status"]} if "status" in live else {}
        return {name: value for name, value in wanted.items() if name != "status"} | kept

    def _delete(self) -> dict:
        self.server.api.check("delete", self.resource)
        options = json.loads(self.body or b"{}")
        return self.store.delete(self._key, (options.get("preconditions") or {}).get("uid"))
