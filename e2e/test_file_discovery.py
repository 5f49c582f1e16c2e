"""The serving plane without etcd: processes find each other in a directory, and need nothing else if
events go over ZMQ."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import CHAT, Cluster, body, eventually, wait_for_instances
from prompts import long_text
from raw_http import post


@pytest.mark.parametrize("events", ["nats", "zmq"])
def test_processes_find_each_other_in_a_directory(
    cluster: Cluster, tmp_path: Path, events: str
) -> None:
    cluster.etcd.kill()
    if events == "zmq":
        cluster.nats.kill()
    flags = ("--discovery-backend", "file", "--discovery-dir", str(tmp_path / "store"))
    flags += ("--event-plane", events)
    workers = [cluster.worker("--threads", "1", *flags) for _ in range(2)]
    frontend = cluster.frontend(*flags)
    for node in (*workers, frontend):
        node.wait_until_ready()
    wait_for_instances(frontend, 2)
    key = f"v1/instances/dynamo/backend/generate/{workers[0].instance}"
    assert (tmp_path / "store" / key).is_file()

    asked = body(long_text("file"), tokens=2)
    assert post(frontend.frontend, CHAT, asked).status == 200

    def cached() -> int:
        mark = frontend.log.mark()
        assert post(frontend.frontend, CHAT, asked).status == 200
        return max(blocks for _, blocks in frontend.selections(mark))

    assert eventually(cached), "KV events arrive"

    workers[0].kill()
    # A killed process is registered until its lease ends, and its requests run elsewhere.
    assert post(frontend.frontend, CHAT, asked).status == 200
    wait_for_instances(frontend, 1)
    workers[1].stop()
    assert eventually(lambda: not list((tmp_path / "store/v1/mdc").rglob(workers[1].instance)))


def test_a_directory_is_needed(cluster: Cluster) -> None:
    refused = cluster.frontend("--discovery-backend", "file")
    assert refused.wait(10) != 0
    assert eventually(lambda: "--discovery-dir" in refused.story())
