"""`tandem planner`: it sees load come and go, says what it would do, and does it through its keys."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from cluster import CHAT, Cluster, body, eventually, free_port, wait_for_instances
from prompts import long_text
from raw_http import EventStream, post

MOCK = ("--engine", "mock", "--served-model-name", "mock", "--kv-blocks", "100")
LOAD = ("--optimization-target", "load", "--mode", "agg", "--adjustment-interval", "1")
LOAD += ("--scale-down-stabilization", "0", "--environment", "virtual")
THRESHOLDS = ("--decode-kv-scale-up-threshold", "0.1", "--decode-kv-scale-down-threshold", "0.05")
PROFILE = {
    "prefill": {"prefill_isl": [100], "prefill_ttft": [50], "prefill_thpt_per_gpu": [100]},
    "decode": {
        "x_kv_usage": [0.1, 0.9],
        "y_context_length": [100, 100],
        "z_itl": [5, 20],
        "z_thpt_per_gpu": [1, 2],
        "max_kv_tokens": 1600,
    },
}


def test_a_dry_run_wants_more_workers_under_load_and_fewer_after(cluster: Cluster) -> None:
    scope = ("--namespace", "planned")
    workers = [cluster.worker(*MOCK, *scope).wait_until_ready() for _ in range(2)]
    frontend = cluster.frontend(*scope).wait_until_ready()
    wait_for_instances(frontend, 2)
    url = f"http://127.0.0.1:{frontend.frontend}"
    port = free_port()
    planner = cluster.launch(
        *("planner", *LOAD, *THRESHOLDS, *scope, "--no-operation", "--frontend-url", url),
        *("--metrics-host", "127.0.0.1", "--metrics-port", str(port)),
    )
    assert planner.out.wait_for(r"^planner decides every 1 s", timeout=60), planner.story()

    request = body(long_text("juniper"), 500, "mock", stream=True)
    with EventStream(frontend.frontend, CHAT, request) as stream:
        next(stream.events())
        mark = planner.out.mark()
        assert planner.out.wait_for(r"decode 2 -> 3 \(KV usage .* is over 0.1", mark, 30)
    assert planner.out.wait_for(r"decode 2 -> 1 \(KV usage .* is under 0.05", mark, 30)
    changes = eventually(lambda: planner.metrics(port).value("tandem_planner_changes_total"))
    assert changes >= 2
    assert not [key for key in cluster.keys() if "/planner/" in key], "a dry run writes nothing"

    planner.signal(signal.SIGTERM)
    assert planner.wait(10) == 0
    for node in (frontend, *workers):
        node.stop()


def test_decisions_are_written_and_wait_for_each_other(cluster: Cluster, tmp_path: Path) -> None:
    scope = ("--namespace", "keys")
    worker = cluster.worker(*MOCK, *scope).wait_until_ready()
    frontend = cluster.frontend(*scope).wait_until_ready()
    wait_for_instances(frontend, 1)
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(PROFILE))
    planner = cluster.launch(
        *("planner", "--mode", "agg", "--environment", "virtual", *scope),
        *("--adjustment-interval", "1", "--profile", str(profile), "--max-gpu-budget", "3"),
        *("--frontend-url", f"http://127.0.0.1:{frontend.frontend}"),
    )
    assert planner.out.wait_for(r"^planner decides every 1 s", timeout=60), planner.story()

    def value(name: str) -> str:
        return cluster.etcdctl("get", "--print-value-only", f"v1/keys/planner/{name}").strip()

    def decided(number: int) -> bool:
        """Asks something, and whether that led to a decision."""
        assert post(frontend.frontend, CHAT, body("Hi", 50, "mock")).status == 200
        return value("decision_id") == str(number)

    eventually(lambda: decided(0), timeout=30)
    assert value("num_decode_workers") == "3", "the traffic needs more, the budget has no more"
    assert planner.log.wait_for("has not happened yet", timeout=30), planner.story()
    assert value("decision_id") == "0"
    cluster.etcdctl("put", "v1/keys/planner/scaled_decision_id", "0")
    eventually(lambda: decided(1), timeout=30)

    planner.signal(signal.SIGTERM)
    assert planner.wait(10) == 0
    for node in (frontend, worker):
        node.stop()
