"""Fails on an #include against the rooms.     python3 .ci/check_includes.py [ROOT]"""
import pathlib, re, sys

MAY = {  # room: what it may include beside itself, rooms or one header; "slice" are the headers right in libslice/
    "cuda": "", "base": "", "format": "base", "device": "base cuda", "jinja": "base", "text": "base format jinja",
    "model": "base format device", "checkpoint": "base format device text model", "method": "base format device model",
    "decode": "base format device text model checkpoint method cuda",
    "evaluate": "base device text model checkpoint decode",
    "slicing": "base format device text model checkpoint method libslice/decode/memory.h",
    "slice": "base format device text model checkpoint method decode evaluate slicing",
    "examples": "base format device text model checkpoint method decode evaluate slicing slice",
    "python": "base format device text model checkpoint method decode evaluate slicing slice",
    "benchmarks": "base format device text model checkpoint method decode evaluate slicing slice cuda examples"}
LENT = "base", "device", "model"  # the rooms whose detail/ others may include; benchmarks measure cuda/detail/ too


def room(path):
    parts = path.split("/")
    if parts[0] != "libslice":
        return parts[0]
    return "slice" if len(parts) == 2 else "jinja" if parts[1:3] == ["text", "jinja"] else parts[1]


def complaint(file, header):
    here, there = room(file), room(header)
    if here in ("tests", there) or "/" not in header:  # a name alone is a neighbour's
        return None
    if there not in MAY[here].split() and header not in MAY[here].split():
        return f"{here} may not include {there}"
    if there == "cuda" and here != "benchmarks" and not file.endswith("_cuda.cpp"):
        return "only *_cuda.cpp may include cuda/"
    lent = (here, there) == ("benchmarks", "cuda") or there in LENT and here not in ("slice", "examples", "python")
    return f"{there}/detail/ is private" if "/detail/" in header and not lent else None


root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
TOPS = "cuda", "libslice", "examples", "python", "benchmarks", "tests"
found = [(path.relative_to(root).as_posix(), header) for top in TOPS
         for path in sorted((root / top).rglob("*.*")) if path.suffix in (".h", ".cpp", ".cu", ".cuh")
         for header in re.findall(r'^\s*#\s*include\s+(?:"|<(?=libslice/|cuda/))([^">]+)', path.read_text(), re.M)]
wrong = [f"{file}: {header}: {why}" for file, header in found if (why := complaint(file, header))]
sys.exit("\n".join(wrong) or print(f"includes: all {len(found)} follow the rooms"))
