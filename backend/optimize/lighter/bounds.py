"""How much a verb may have: a job's `memory_bytes` enters, the process' limit leaves; and the threads of its sessions.

Data that the process maps for itself is bounded (RLIMIT_DATA): shared libraries and their code don't count. Past it an
allocation fails, which is a reply of one line. Verbs keep within it by their own means: one sample at a time, tensors in
chunks (`ranges`), a model at most 2 GiB.
"""

import os
import resource

from .refusal import Refused, field

# More than this no file of a model may have: protobuf's own bound.
MODEL_BYTES = 2 << 30

# Below this the libraries alone don't start.
LEAST = 512 << 20


def set_memory(job):
    bytes_ = field(job, "memory_bytes", int, None)
    if bytes_ is None:
        bytes_ = max(LEAST, available() * 3 // 4)
    if bytes_ < LEAST:
        raise Refused(f"'memory_bytes' must be at least {LEAST}")
    resource.setrlimit(resource.RLIMIT_DATA, (bytes_, bytes_))


def available():
    """What this machine has, or the group of processes that this one is in."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                found.append(int(file.read()))
        except (OSError, ValueError):
            pass
    return min(found)


def threads(job):
    """One unless the job says more: sums are then always in one order."""
    count = field(job, "threads", int, 1)
    if not 1 <= count <= 256:
        raise Refused(f"'threads' must be from 1 to 256, not {count}")
    return count
