"""Clusters whose events take other ways than NATS."""

from __future__ import annotations

from cluster import CHAT, Cluster, body, eventually, wait_for_instances
from prompts import long_text
from raw_http import post

NOWHERE = ("--nats-server", "nats://127.0.0.1:1")


def test_events_over_zmq_need_no_nats(cluster: Cluster) -> None:
    flags = ("--namespace", "zmq", "--event-plane", "zmq", *NOWHERE)
    kinds = (["--is-prefill-worker"], [], [])
    workers = [cluster.worker("--threads", "1", *flags, *kind) for kind in kinds]
    frontend = cluster.frontend(*flags).wait_until_ready()
    for worker in workers:
        worker.wait_until_ready()
    wait_for_instances(frontend, 3)
    text = long_text("clover")
    mark = frontend.log.mark()
    first = post(frontend.frontend, CHAT, body(text))
    assert first.status == 200, first

    def cached() -> int:
        answer = post(frontend.frontend, CHAT, body(text))
        assert answer.json()["choices"] == first.json()["choices"]
        return frontend.selections(mark)[-1][1]

    assert frontend.selections(mark)[0][1] == 0
    eventually(lambda: cached() >= 36)
    channels = cluster.etcdctl("get", "--prefix", "v1/event_channels/namespace/zmq/", "--keys-only")
    assert "/topic/kv-events/" in channels
    # A frontend that comes later learns what there is.
    later = cluster.frontend(*flags).wait_until_ready()
    wait_for_instances(later, 3)
    mark = later.log.mark()
    assert post(later.frontend, CHAT, body(text)).status == 200
    assert max(blocks for _, blocks in later.selections(mark)) >= 36
    for node in (frontend, later, *workers):
        node.stop()


def test_planes_that_do_not_go_together_are_named(cluster: Cluster) -> None:
    node = cluster.frontend("--event-plane", "zmq", "--request-plane", "nats")
    assert node.process.wait(10) != 0
    assert "--event-plane zmq does without" in node.story()
