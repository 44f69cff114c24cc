"""How many cores a process may use, with cgroups as containers have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceinsight import cpus
from faceinsight.cpus import usable_cpus

CORES = 16


@pytest.fixture(autouse=True)
def many_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(CORES)), raising=False)


def root_with(folder: Path, groups: str, files: dict[str, str]) -> Path:
    """Writes /proc/self/cgroup and files under /sys/fs/cgroup."""
    files = {"proc/self/cgroup": groups} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    return folder


V1 = "7:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "10000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, CORES),
        ("0::/", {"cpu.max": "9900000 100000"}, CORES),
        # A limit of a group around the process's own counts as well.
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/a/b", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "max 100000"}, 4),
        # The path as the host sees it: the container sees its own group at the top.
        ("0::/system.slice/docker-1.scope", {"cpu.max": "200000 100000"}, 2),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 2),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "50000", "cpu/docker/abc/cpu.cfs_period_us": "100000"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, CORES),
        (V1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "0"}, CORES),
        # Only the memory is limited.
        (V1, {"memory/docker/abc/cpu.max": "100000 100000"}, CORES),
        ("nonsense", {"cpu.max": "nonsense"}, CORES),
        ("0::/", {}, CORES),
    ],
)
def test_a_containers_limit_counts(tmp_path, groups, files, cores):
    assert usable_cpus(root_with(tmp_path, groups, files)) == cores


def test_affinity_counts_where_it_is_less(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert usable_cpus(root_with(tmp_path, "0::/", {"cpu.max": "800000 100000"})) == 1


def test_a_machine_without_cgroups(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert usable_cpus(tmp_path) == 5


def test_models_and_clips_get_as_many_threads_as_the_container_has(monkeypatch, tmp_path, toy_pack):
    """What runs models and reads clips asks here, not the machine."""
    from faceinsight.inference import session
    from faceinsight.media import video

    assert session.usable_cpus is cpus.usable_cpus
    assert video.usable_cpus is cpus.usable_cpus
    monkeypatch.setattr(session, "usable_cpus", lambda: 3)
    made = session.create_session(toy_pack / "emotion.onnx")
    assert made.get_session_options().intra_op_num_threads == 3
