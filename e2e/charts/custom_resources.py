"""Strict JSON Schemas of the custom resources that the charts and manifests use.

They hold the members that exist since the oldest version that docs/kubernetes/install.md names (Gateway
API 1.2, Envoy Gateway 1.3, Inference Extension 1.0, prometheus-operator 0.60, LeaderWorkerSet 0.5),
as far as this project writes them. A member that is not here is a mistake, or has to be looked up
and added.
"""

from __future__ import annotations

ANY: dict = {}
TEXT = {"type": "string", "minLength": 1}
NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}
NUMBER = {"type": "integer"}
FLAG = {"type": "boolean"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
DURATION = {"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
SIZE = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|k|M|G)?$"}
MAP = {"type": "object", "additionalProperties": {"type": "string"}}


def record(*required: str, **members: dict) -> dict:
    """An object with these members and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": members,
    }


def listed(item: dict, most: int = 64) -> dict:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most}


def one_of(*values: str) -> dict:
    return {"enum": list(values)}


BACKEND = record(
    "name", group={"type": "string"}, kind=TEXT, name=NAME, namespace=NAME, port=PORT, weight=NUMBER
)
TARGET = record("group", "kind", "name", group=TEXT, kind=TEXT, name=NAME, sectionName=TEXT)
HEADER = record("name", "value", name=TEXT, value=TEXT)
BODY = one_of("Streamed", "Buffered", "BufferedPartial", "FullDuplexStreamed")
DIRECTION = record(body=BODY, attributes=listed(TEXT))
XDS = "type.googleapis.com/envoy.config."

GATEWAY_API = "gateway.networking.k8s.io"
ENVOY_GATEWAY = "gateway.envoyproxy.io/v1alpha1"

SPECS: dict[tuple[str, str], dict] = {
    (f"{GATEWAY_API}/v1", "GatewayClass"): record(
        "controllerName",
        controllerName=TEXT,
        description=TEXT,
        parametersRef=record("group", "kind", "name", group=TEXT, kind=TEXT, name=NAME, namespace=NAME),
    ),
    (f"{GATEWAY_API}/v1", "Gateway"): record(
        "gatewayClassName",
        "listeners",
        gatewayClassName=NAME,
        listeners=listed(
            record(
                "name",
                "port",
                "protocol",
                name=NAME,
                hostname=TEXT,
                port=PORT,
                protocol=one_of("HTTP", "HTTPS"),
                tls=record(
                    mode=one_of("Terminate"),
                    certificateRefs=listed(record("name", name=NAME, kind=TEXT, group={"type": "string"})),
                ),
                allowedRoutes=record(
                    namespaces=record(
                        "from", **{"from": one_of("All", "Same", "Selector")}, selector=ANY
                    )
                ),
            )
        ),
        infrastructure=record(
            labels=MAP,
            annotations=MAP,
            parametersRef=record("group", "kind", "name", group=TEXT, kind=TEXT, name=NAME),
        ),
    ),
    (f"{GATEWAY_API}/v1", "HTTPRoute"): record(
        "rules",
        parentRefs=listed(
            record("name", name=NAME, namespace=NAME, group=TEXT, kind=TEXT, sectionName=TEXT)
        ),
        hostnames=listed(TEXT),
        rules=listed(
            record(
                matches=listed(
                    record(
                        path=record(type=one_of("Exact", "PathPrefix"), value=TEXT),
                        headers=listed(
                            record("name", "value", type=one_of("Exact"), name=TEXT, value=TEXT)
                        ),
                        method=TEXT,
                    )
                ),
                backendRefs=listed(BACKEND),
                timeouts=record(request=DURATION, backendRequest=DURATION),
            )
        ),
    ),
    (f"{GATEWAY_API}/v1beta1", "ReferenceGrant"): record(
        "from",
        "to",
        **{
            "from": listed(
                record("group", "kind", "namespace", group=TEXT, kind=TEXT, namespace=NAME)
            )
        },
        to=listed(record("group", "kind", group={"type": "string"}, kind=TEXT, name=NAME)),
    ),
    (ENVOY_GATEWAY, "ClientTrafficPolicy"): record(
        "targetRefs",
        targetRefs=listed(TARGET),
        connection=record(bufferLimit=SIZE),
        headers=record(
            earlyRequestHeaders=record(
                add=listed(HEADER), set=listed(HEADER), remove=listed(TEXT)
            )
        ),
        timeout=record(http=record(requestReceivedTimeout=DURATION, idleTimeout=DURATION)),
    ),
    (ENVOY_GATEWAY, "BackendTrafficPolicy"): record(
        "targetRefs",
        targetRefs=listed(TARGET),
        connection=record(bufferLimit=SIZE),
        timeout=record(
            tcp=record(connectTimeout=DURATION),
            http=record(requestTimeout=DURATION, connectionIdleTimeout=DURATION),
        ),
    ),
    (ENVOY_GATEWAY, "EnvoyExtensionPolicy"): record(
        "targetRefs",
        "extProc",
        targetRefs=listed(TARGET),
        extProc=listed(
            record(
                "backendRefs",
                backendRefs=listed(BACKEND),
                messageTimeout=DURATION,
                failOpen=FLAG,
                processingMode=record(request=DIRECTION, response=DIRECTION, allowModeOverride=FLAG),
                metadata=record(accessibleNamespaces=listed(TEXT, 8), writableNamespaces=listed(TEXT, 8)),
            ),
            16,
        ),
    ),
    (ENVOY_GATEWAY, "EnvoyPatchPolicy"): record(
        "type",
        "targetRef",
        "jsonPatches",
        type=one_of("JSONPatch"),
        targetRef=TARGET,
        priority=NUMBER,
        jsonPatches=listed(
            record(
                "type",
                "name",
                "operation",
                type=one_of(
                    f"{XDS}listener.v3.Listener",
                    f"{XDS}route.v3.RouteConfiguration",
                    f"{XDS}cluster.v3.Cluster",
                ),
                name=TEXT,
                operation=record(
                    "op",
                    op=one_of("add", "remove", "replace", "move", "copy", "test"),
                    path={"type": "string"},
                    jsonPath=TEXT,
                    value=ANY,
                ),
            )
        ),
    ),
    (ENVOY_GATEWAY, "EnvoyProxy"): record(
        logging=record(level=MAP),
        provider=record(
            "type",
            type=one_of("Kubernetes"),
            kubernetes=record(
                envoyDeployment=record(replicas=NUMBER, container=record(resources=ANY))
            ),
        ),
    ),
    ("inference.networking.k8s.io/v1", "InferencePool"): record(
        "selector",
        "targetPorts",
        "endpointPickerRef",
        selector=record("matchLabels", matchLabels=MAP),
        targetPorts=listed(record("number", number=PORT), 8),
        endpointPickerRef=record(
            "name",
            name=NAME,
            group={"type": "string"},
            kind=TEXT,
            port=record("number", number=PORT),
            failureMode=one_of("FailOpen", "FailClose"),
        ),
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): record(
        "selector",
        "endpoints",
        namespaceSelector=record(matchNames=listed(NAME)),
        selector=record("matchLabels", matchLabels=MAP),
        endpoints=listed(
            record(
                "port",
                port=TEXT,
                path=TEXT,
                interval=DURATION,
                honorLabels=FLAG,
                relabelings=listed({"type": "object"}),
            )
        ),
    ),
    ("nvidia.com/v1alpha1", "DynamoGraphDeployment"): record(
        "services",
        backendFramework=one_of("vllm", "sglang", "trtllm"),
        envs=listed(record("name", name=TEXT, value=TEXT, valueFrom=ANY)),
        pvcs=listed(ANY),
        services={
            "type": "object",
            "maxProperties": 25,
            "additionalProperties": record(
                "componentType",
                componentType=one_of("frontend", "worker", "planner"),
                subComponentType=one_of("prefill", "decode"),
                dynamoNamespace=TEXT,
                replicas={"type": "integer", "minimum": 0},
                labels=MAP,
                annotations=MAP,
                resources=record(
                    **{
                        side: record(cpu=TEXT, memory=TEXT, gpu=TEXT) for side in ("requests", "limits")
                    }
                ),
                envs=listed(ANY),
                envFromSecret=TEXT,
                livenessProbe=ANY,
                readinessProbe=ANY,
                sharedMemory=record(size=SIZE, disabled=FLAG),
                multinode=record(nodeCount={"type": "integer", "minimum": 2}),
                extraPodSpec=ANY,
            ),
        },
    ),
}

METADATA = record(
    "name", name=NAME, namespace=NAME, labels=MAP, annotations=MAP
)


def schema(api_version: str, kind: str) -> dict | None:
    """The schema of a whole object; `None` if this is none of the kinds."""
    spec = SPECS.get((api_version, kind))
    if spec is None:
        return None
    return record("metadata", apiVersion=TEXT, kind=TEXT, metadata=METADATA, spec=spec)
