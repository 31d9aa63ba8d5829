"""QEMU's command line for a whole machine: an emulated processor (TCG), a disk, a wire to us, a console in a file. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MEBIBYTES: Final = 2048
# Each byte of the serial console costs an exit of the emulated processor: it gets what goes wrong, the journal has all.
# No job of a boot ends for being slow: a processor that is shared may take minutes for what takes seconds.
# The clock of an emulated processor is this machine's own and steady, the same on each: the kernel cannot know that, and
# would ask an emulated chip for the time instead. Unused drivers are left out.
KERNEL: Final = (
    "root=/dev/vda rw console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr systemd.show_status=error"
    " systemd.default_timeout_start_sec=900 net.ifnames=0 tsc=reliable no_timer_check nowatchdog cryptomgr.notests"
    " rcupdate.rcu_expedited=1 random.trust_cpu=on"
    " modprobe.blacklist=kvm,kvm_amd,kvm_intel,powernow_k8,acpi_cpufreq,cfg80211,floppy,pcspkr,libata,ata_piix,ata_generic,"
    "psmouse,i2c_piix4,parport,parport_pc,ppdev,evdev,button"
)
# Instead of Debian's default, AppArmor. Files have their labels from when the image was made; labelling
# every file again after a boot without SELinux would take an hour here.
SELINUX: Final = "security=selinux selinux=1 noautorelabel"


def command(
    *,
    kernel: Path,
    initrd: Path,
    append: str,
    overlay: Path,
    console: Path,
    port: int,
    accel: str = "tcg",
) -> list[str]:
    """The program and its arguments; ssh of the machine is at 127.0.0.1:port, and nothing else goes in or out.

    `accel` is "tcg" or "kvm". A reset ends QEMU, so that a machine that reboots can get another kernel command line.
    A flush of the machine's disk is a flush of the overlay (cache=writeback); the rest is lost with QEMU.
    """
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "pc,hpet=off,vmport=off", "-accel", "tcg,thread=multi" if accel == "tcg" else accel,
        "-cpu", "max,la57=off", "-smp", "2", "-m", str(MEBIBYTES),
        "-kernel", str(kernel), "-initrd", str(initrd), "-append", f"{KERNEL} {append}".rstrip(),
        "-drive", f"file={overlay},format=qcow2,if=none,id=disk,cache=writeback",
        "-device", "virtio-blk-pci,drive=disk",
        "-netdev", f"user,id=wire,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:22",
        "-device", "virtio-net-pci,netdev=wire,romfile=",
        "-device", "virtio-rng-pci",
        "-chardev", f"file,id=console,path={console},append=on", "-serial", "chardev:console",
    ]  # fmt: skip
