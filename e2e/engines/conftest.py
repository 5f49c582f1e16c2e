"""Fleets for the tests of engines outside the worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import Cluster
from fleet import Fleet


@pytest.fixture
def fleet(cluster: Cluster, tmp_path: Path) -> Iterator[Fleet]:
    # Some tests stop processes for a while, which must not cost them their lease.
    cluster.env["ETCD_LEASE_TTL"] = "30"
    fleet = Fleet(cluster, tmp_path)
    yield fleet
    fleet.stop()
