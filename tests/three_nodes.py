"""A Ray cluster of three nodes, each in processes of this machine; they die one by one."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
small = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args={**small, "temp_dir": sys.argv[1]})
nodes = [cluster.add_node(**small) for _ in range(2)]
print("at", cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    print("at", cluster.address, flush=True)
cluster.shutdown()
"""
"""Three nodes in processes of this machine; for each line that it reads, one of them dies."""


class ThreeNodes:
    def __init__(self, folder: str):
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.address = self._answer()

    def _answer(self) -> str:
        for line in self.process.stdout:
            if line.startswith("at "):
                return line.split()[1]
        raise AssertionError("the cluster did not start")

    def lose_one(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._answer()


@pytest.fixture
def three_nodes() -> Iterator[ThreeNodes]:
    folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it
    nodes = ThreeNodes(folder)
    yield nodes
    nodes.process.communicate(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)
