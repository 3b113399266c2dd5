"""What a row says of the machine and the programs."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def output(*command):
    """A command's output, or nothing where it is not there or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def cards():
    """(name, driver) of every GPU."""
    lines = output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
    return [tuple(part.strip() for part in line.rpartition(",")[::2]) for line in lines]


def commit():
    """SLICE_COMMIT, or git's; a plus after it where tracked files outside docs/ differ."""
    named = os.environ.get("SLICE_COMMIT")
    if named:
        return named
    short = output("git", "rev-parse", "--short", "HEAD")
    return short + ("+" if short and output("git", "status", "--short", "-uno", "--", ":!docs") else "")


def described(device, every):
    """The columns of a device, `cpu` or `cuda:N`."""
    if device != "cpu":
        name, driver = every[int(device.partition(":")[2] or 0)] if every else ("unknown GPU", "")
        return {"gpu": name, "driver": driver}
    names = [line.partition(":")[2].strip() for line in output("lscpu").splitlines() if line.startswith("Model name")]
    return {"gpu": f"none: {os.cpu_count()} vCPU {' '.join(names)}".strip(), "driver": ""}


def environment(device):
    """Variables by which a program sees one device alone, as its first."""
    if device == "cpu":
        return dict(os.environ)
    index = int(device.partition(":")[2] or 0)
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return {**os.environ, "CUDA_VISIBLE_DEVICES": seen[index] if seen else str(index)}
