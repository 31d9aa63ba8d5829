"""A unit of every kind, with every way to end, as files and commands that put a host into that state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.lab.hosts import Host

UNITS: Final = {
    "zoo-running.service": """
[Unit]
Description=Runs along
Documentation=man:sleep(1)
# Keeps these loaded: systemd forgets how a condition went with the unit.
After=zoo-condition.service zoo-assert.service
# Tests start and stop it often.
StartLimitIntervalSec=0
[Service]
ExecStart=sleep infinity
MemoryHigh=100M
MemoryMax=200M
TasksMax=77
[Install]
WantedBy=multi-user.target
""",
    "zoo-failed.service": """
[Unit]
Description=Fails
[Service]
ExecStartPre=true
ExecStart=sh -c 'exit 3'
""",
    "zoo-needs.service": """
[Unit]
Description=Needs one that fails
Requires=zoo-broken.service
After=zoo-broken.service
[Service]
ExecStart=sleep infinity
""",
    # Its start itself fails, which one of Type=simple does not.
    "zoo-broken.service": """
[Service]
Type=oneshot
ExecStart=sh -c 'exit 5'
""",
    "zoo-killed.service": """
[Service]
ExecStart=sh -c 'kill -SEGV $$$$'
""",
    "zoo-noexec.service": """
[Service]
ExecStart=/nonexistent "a b" --home=$HOME
""",
    "zoo-exited.service": """
[Unit]
Description=Ran once and stays
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=true
ExecStart=echo hi there
""",
    "zoo-template@.service": """
[Unit]
Description=Instance %i
[Service]
ExecStart=sleep infinity
""",
    "zoo-socket.socket": """
[Unit]
Description=A socket
[Socket]
ListenStream=/run/zoo-socket
ListenStream=127.0.0.1:7777
ListenDatagram=/run/zoo-datagram
[Install]
WantedBy=sockets.target
""",
    "zoo-socket.service": """
[Service]
ExecStart=sleep infinity
""",
    "zoo-accept.socket": """
[Socket]
ListenStream=/run/zoo-accept
Accept=yes
""",
    "zoo-accept@.service": """
[Service]
ExecStart=cat
StandardInput=socket
""",
    "zoo-timer.timer": """
[Unit]
Description=A timer
[Timer]
OnCalendar=*-*-* 04:05:06
OnActiveSec=3h
[Install]
WantedBy=timers.target
""",
    "zoo-timer.service": """
[Service]
Type=oneshot
ExecStart=true
""",
    "mnt-zoo.mount": """
[Unit]
Description=A mount
[Mount]
What=tmpfs
Where=/mnt/zoo
Type=tmpfs
""",
    "zoo-disabled.service": """
[Unit]
Description=Never started
[Service]
ExecStart=true
[Install]
WantedBy=multi-user.target
""",
    "zoo-real.service": """
[Unit]
Description=Has an alias
[Service]
ExecStart=sleep infinity
[Install]
Alias=zoo-alias.service
WantedBy=multi-user.target
""",
    "zoo-many.service": """
[Unit]
Description=Many drop-ins and docs
Documentation=man:a(1) man:b(2)
Documentation=https://example.invalid/x file:/usr/share/doc/x info:gpl
[Service]
ExecStart=sleep infinity
""",
    "zoo-tree.service": """
[Unit]
Description=Forty processes
[Service]
Delegate=yes
ExecStart=/usr/local/bin/zoo-tree
""",
    "zoo-condition.service": """
[Unit]
Description=Conditions
ConditionPathExists=/nonexistent/a
ConditionPathExists=!/etc
ConditionPathExists=|/nonexistent/b
ConditionHost=|!x
[Service]
ExecStart=true
""",
    "zoo-assert.service": """
[Unit]
AssertPathExists=/nonexistent/a
[Service]
ExecStart=true
""",
    "zoo-bad.service": """
[Service]
Type=nonsense
""",
    "zoo-notify.service": """
[Service]
Type=notify
NotifyAccess=all
ExecStart=sh -c 'systemd-notify --ready --status="All is well: 42%%" ERRNO=2; exec sleep infinity'
ExecStartPost=sh -c 'exit 0'
RuntimeMaxSec=2d
IPAccounting=yes
IOAccounting=yes
""",
    "zoo-starting.service": """
[Service]
ExecStartPre=sleep infinity
ExecStart=true
TimeoutStartSec=infinity
""",
    "zoo-odd.service": r"""
[Unit]
Description=Odd arguments
[Service]
ExecStart=/usr/bin/perl -e 'sleep 100000' "with space" 'q"uote' back\\slash "" tab\tx dollar$$x "ünï" \
 "esc\x1b[31m" star* "new\nline" 'a;b' {x} ~ #h =e \x7f !x 100%% "$`"
""",
}

DROP_INS: Final = {
    "/etc/systemd/system/zoo-many.service.d/10-a.conf": "[Service]\nNice=1\n",
    "/etc/systemd/system/zoo-many.service.d/20-b.conf": "[Service]\nNice=2\n",
    "/run/systemd/system/zoo-many.service.d/30-c.conf": "[Service]\nNice=3\n",
}

# 39 processes in groups below the service's own, where systemd keeps its tree, and itself.
TREE: Final = r"""#!/bin/bash
for root in /sys/fs/cgroup/unified /sys/fs/cgroup /sys/fs/cgroup/systemd; do
  test -e $root/cgroup.procs && break
done
group=$root$(grep -E "^0::|name=systemd:" /proc/self/cgroup | tail -1 | cut -d: -f3)
for i in 1 2 3; do
  mkdir -p $group/sub$i/deep
  for n in {1..13}; do
    sleep 1000000 & echo $! >$group/sub$i/$( ((n > 10)) && echo deep)/cgroup.procs
  done
done
exec -a "odd name" sleep infinity
"""

START: Final = (
    *("zoo-running", "zoo-exited", "zoo-template@one", "zoo-socket.socket", "zoo-accept.socket"),
    *("zoo-timer.timer", "mnt-zoo.mount", "zoo-real", "zoo-many", "zoo-tree", "zoo-condition"),
    *("zoo-notify", "zoo-odd"),
)
FAIL: Final = ("zoo-failed", "zoo-killed", "zoo-noexec", "zoo-assert")
ENABLE: Final = ("zoo-running", "zoo-real", "zoo-socket.socket")

_SET_UP: Final = """
set -e
chmod +x /usr/local/bin/zoo-tree
mkdir -p /mnt/zoo
ln -sf /dev/null /etc/systemd/system/zoo-masked.service
systemctl daemon-reload
systemctl enable --quiet {enable}
systemctl start {start}
systemctl start {fail} || true
systemctl start --no-block zoo-starting
until test "$(systemctl is-failed {fail} | sort -u)" = "failed"; do sleep 0.1; done
until test "$(systemctl show -P ControlPID zoo-starting)" != 0; do sleep 0.1; done
until test "$(systemctl show -P TasksCurrent zoo-tree)" = 40; do sleep 0.1; done
"""
_TAKE_DOWN: Final = """
systemctl disable --quiet zoo-running zoo-real zoo-socket.socket
systemctl stop 'zoo-*' mnt-zoo.mount
rm -rf /etc/systemd/system/zoo-* /run/systemd/system/zoo-* /etc/systemd/system/mnt-zoo.mount \
  /usr/local/bin/zoo-tree /mnt/zoo
systemctl daemon-reload
systemctl reset-failed
"""


def set_up(host: Host) -> None:
    """Put all of them on the host, each in its state."""
    files = {f"/etc/systemd/system/{name}": text for name, text in UNITS.items()}
    for path, text in {**files, **DROP_INS, "/usr/local/bin/zoo-tree": TREE}.items():
        file = host.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    script = _SET_UP.format(
        start=" ".join(START),
        fail=" ".join(f for f in FAIL if f != "zoo-assert"),
        enable=" ".join(ENABLE),
    )
    host.run(
        "sh",
        "-c",
        script + "systemctl start zoo-assert || true\n! systemctl start zoo-needs\n",
        timeout=60,
    )


def take_down(host: Host) -> None:
    """The host as it was."""
    host.run("sh", "-c", _TAKE_DOWN, timeout=120)
