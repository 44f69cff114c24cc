"""How many CPU cores this process may use: those of its container, not those of the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

# How many processes share the cores, told to each of them and to those that it starts.
SHARED_BY = "FACEINSIGHT_CPUS_SHARED_BY"


def usable_cpus(root: Path = Path("/")) -> int:
    """Returns how many CPU cores this process may keep busy.

    That is how many it may run on (affinity), or less where a container's limit (a cgroup's quota, version 1 or 2)
    gives it less time; part of a core counts as one. Where several processes do the same work, it is this one's share.

    Args:
        root: Where /proc and /sys are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    usable = min([cores, *(max(1, math.ceil(quota)) for quota in _quotas(root))])
    return max(1, usable // int(os.environ.get(SHARED_BY, "1")))


def _quotas(root: Path) -> Iterator[float]:
    """Gives the limits of this process's cgroups and of those around them, in cores."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            for mount in _mounts(root / "sys/fs/cgroup", controllers):
                inside = PurePosixPath(path.lstrip("/"))
                # A path as the host sees it is not there in a container, which sees its own group at the top.
                for folder in (inside, *inside.parents):
                    yield from _quota(mount / folder)


def _mounts(cgroups: Path, controllers: str) -> tuple[Path, ...]:
    return (cgroups / controllers, cgroups / "cpu") if controllers else (cgroups, cgroups / "unified")


def _quota(group: Path) -> Iterator[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):
        # "max 100000" where there is no limit.
        quota, period = (group / "cpu.max").read_text().split()
        yield int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        # -1 where there is none.
        if (micros := int((group / "cpu.cfs_quota_us").read_text())) > 0:
            yield micros / int((group / "cpu.cfs_period_us").read_text())
