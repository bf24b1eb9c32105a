"""What the weak tier does not hold back. Shown to whoever decides whether it will do; each has a test that shows it."""

from typing import Final

from builderos.execution.compute.schema import Gap

WEAK_GAPS: Final = (
    Gap(
        "git-writable",
        "Commands can write the workspace's .git: Landlock cannot take back a part of what it gives.",
    ),
    Gap(
        "stat-outside",
        "Commands can see names, sizes and times of files outside, wherever the account may look.",
    ),
    Gap(
        "metadata-outside",
        "Commands can change mode and times of files outside that belong to the same account.",
    ),
    Gap(
        "neighbours",
        "Commands can see, slow down, pin or limit other processes of the same account; not read or end them.",
    ),
    Gap("netlink", "Commands can open netlink sockets, which are answered in the kernel's place."),
    Gap(
        "disk-watched", "The size of the workspace is watched, not enforced: it can be exceeded for a moment."
    ),
    Gap("real-paths", "The workspace stands at its real path, which commands can read."),
)
