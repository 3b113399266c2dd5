"""The programs as console scripts: each starts the binary of its name, which takes over."""

import importlib.util
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent


def torch_folder():
    """Where torch is installed, found without importing it."""
    found = importlib.util.find_spec("torch")
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        sys.exit("libslice: torch is not installed")
    return pathlib.Path(places[0]).resolve()


def run():
    """Becomes the program that this script is called."""
    program = ROOT / "bin" / pathlib.Path(sys.argv[0]).name
    torch = torch_folder()
    if torch.parent != ROOT.parent:  # elsewhere than beside this package, where the binaries look
        path = os.environ.get("LD_LIBRARY_PATH")
        os.environ["LD_LIBRARY_PATH"] = f"{torch / 'lib'}:{path}" if path else str(torch / "lib")
    try:
        os.execv(program, [str(program), *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"libslice: {program}: {error.strerror}")
