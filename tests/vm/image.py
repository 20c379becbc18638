"""
The parts of the virtual machine, made of Debian packages and kept in a cache: kernel, first file system, chronyd.

Only what is used is unpacked; nothing but QEMU and a few tools is installed on the host.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import zlib
from pathlib import Path

TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "ip": "iproute2",
    "zstd": "zstd",
    "lz4": "lz4",
}
"""The programs that are needed, and the Debian package of each."""
MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "failover"),
    *("netfs", "fscache", "9pnet", "9pnet_virtio", "9p", "overlay", "veth", "sch_netem"),
    *("parport", "parport_pc", "pps_parport", "pps-ldisc"),
)
"""Kernel modules in the order of loading; one that a kernel has built in is left out."""
PATHS = (
    *("drivers/virtio/*", "drivers/net/veth.*", "net/9p/*", "net/core/*", "net/sched/*"),
    *("fs/9p/*", "fs/netfs/*", "fs/fscache/*", "fs/overlayfs/*", "drivers/parport/*", "drivers/pps/*"),
)
"""Where the modules are in the kernels of several years."""
COMPRESSIONS = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x02\x21\x4c\x18", "lz4"), (b"\xfd7zXZ\0", ""), (b"\x1f\x8b\x08", ""))


def install_tools() -> None:
    """Install the tools that are missing, without what they merely recommend; needs root."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def prepare(cache: Path, init: Path) -> None:
    """Make ``vmlinux``, ``initrd`` and ``chrony`` in the cache; what is there already is kept."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    install_tools()
    stamp, recipe = cache / "modules.stamp", repr((MODULES, PATHS))
    if not stamp.exists() or stamp.read_text() != recipe:
        _unpack_kernel(cache)
        stamp.write_text(recipe)
    _make_initrd(cache, init)
    if not (cache / "chrony").exists():
        unpacked = cache / "chrony.new"
        archive = _download(cache, "chrony")
        subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
        archive.unlink()
        unpacked.rename(cache / "chrony")


def _download(cache: Path, package: str) -> Path:
    """Fetch the .deb of a package into the cache."""
    if subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
    # As root apt would hand the download to its own user, who can't write here, and warn of it.
    subprocess.run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], check=True, cwd=cache)
    return max(cache.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)


def _unpack_kernel(cache: Path) -> None:
    """Unpack Debian's newest kernel: the image as an ELF file, and the modules of the list."""
    depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True)
    package = next(line.split()[1] for line in depends.stdout.splitlines() if line.split()[0] == "Depends:")
    archive = _download(cache, package)
    tree = cache / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    wanted = ["./boot/vmlinuz-*", *(f"*/kernel/{path}" for path in PATHS)]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as packed:
        # tar complains of paths that this kernel does not have.
        command = ["tar", "-x", "-C", str(tree), "--wildcards", *wanted]
        subprocess.run(command, stdin=packed.stdout, stderr=subprocess.DEVNULL, check=False)
    image = next(tree.glob("boot/vmlinuz-*"))
    (cache / "vmlinux").write_bytes(_extract_elf(image.read_bytes()))
    modules = cache / "modules.new"
    shutil.rmtree(modules, ignore_errors=True)
    modules.mkdir()
    for name in MODULES:
        for path in tree.rglob(f"{name}.ko*"):
            content = path.read_bytes()
            (modules / f"{name}.ko").write_bytes(lzma.decompress(content) if path.suffix == ".xz" else content)
    shutil.rmtree(tree)
    archive.unlink()
    shutil.rmtree(cache / "modules", ignore_errors=True)
    modules.rename(cache / "modules")


def _extract_elf(image: bytes) -> bytes:
    """Give the ELF kernel that a bzImage carries: it boots faster, without firmware."""
    for magic, tool in COMPRESSIONS:
        position = image.find(magic)
        while position >= 0:
            kernel = _decompress(image[position:], tool)
            if kernel.startswith(b"\x7fELF"):
                return kernel
            position = image.find(magic, position + 1)
    raise SystemExit("there is no ELF kernel in Debian's image")


def _decompress(content: bytes, tool: str) -> bytes:
    """Decompress what begins here and has rubbish behind it; what is not compressed after all gives nothing."""
    if tool:
        return subprocess.run([tool, "-qdc"], input=content, capture_output=True, check=False).stdout
    try:
        if content.startswith(b"\x1f"):
            return zlib.decompressobj(31).decompress(content)
        return lzma.LZMADecompressor().decompress(content)
    except (zlib.error, lzma.LZMAError):
        return b""


def _make_initrd(cache: Path, init: Path) -> None:
    """Pack the first file system: a shell, the modules, and the script that mounts the rest."""
    tree = cache / "initrd.new"
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "m", "proc", "sys", "dev", "new", "lower", "ov"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "busybox", tree / "bin/busybox")
    shutil.copy(init, tree / "init")
    (tree / "init").chmod(0o755)
    present = [name for name in MODULES if (cache / "modules" / f"{name}.ko").exists()]
    for name in present:
        shutil.copy(cache / "modules" / f"{name}.ko", tree / "m")
    (tree / "m/order").write_text("\n".join(present) + "\n")
    names = "\n".join(sorted(str(path.relative_to(tree)) for path in tree.rglob("*")))
    with (cache / "initrd").open("wb") as packed:
        command = ["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"]
        subprocess.run(command, input=names.encode(), stdout=packed, cwd=tree, check=True)
    shutil.rmtree(tree)
