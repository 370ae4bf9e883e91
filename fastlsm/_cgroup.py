"""How much processor time Linux's control groups leave to this process, as a container's limit is."""

import math
from pathlib import PurePosixPath


def processors(root):
    """The processors' worth of time that this process may use, rounded up; infinity for no limit.

    Control groups lie one in the other, so the least quota on the way up counts. `root` is the file system's root.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except (OSError, ValueError):
        return math.inf
    quotas = [
        quota(folder)
        for top, mounted, controller, quota in _cpu_mounts(root, mounts)
        for folder in _up_to(top, _group(groups, controller), mounted)
    ]
    least = min(quotas, default=math.inf)
    return max(1, math.ceil(least)) if least < math.inf else math.inf


def _cpu_mounts(root, mounts):
    """Of each hierarchy with quotas: where it is mounted, which group of it, the controller, how to read a quota."""
    for mount in mounts:
        # 30 24 0:26 /group /mount/point rw,relatime - type source options
        where, _, what = mount.partition(" - ")
        where, what = where.split(), what.split()
        if len(where) < 5 or len(what) < 3:
            continue
        if what[0] == "cgroup2":
            yield root / where[4].lstrip("/"), where[3], "", _quota_v2
        elif what[0] == "cgroup" and "cpu" in what[2].split(","):
            yield root / where[4].lstrip("/"), where[3], "cpu", _quota_v1


def _group(groups, controller):
    """The path of this process's group; version 2 has one hierarchy for all controllers, without a name."""
    for line in groups:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return path
    return "/"


def _up_to(top, path, mounted):
    """The folders of a group and of those around it, as far as they can be seen."""
    try:
        inside = PurePosixPath(path).relative_to(mounted)
    except ValueError:  # a container that sees its own group only, under the name it has outside
        inside = PurePosixPath()
    if ".." in inside.parts:
        inside = PurePosixPath()
    yield top / inside
    yield from (top / parent for parent in inside.parents)


def _quota_v2(folder):
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _quota_v1(folder):
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return math.inf if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
