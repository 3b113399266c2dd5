"""The wheel's one requirement, for scikit-build-core: the torch whose LibTorch it is built on.

LibTorch's C++ interface changes from one minor release to the next, so the wheel wants that release. Where CMake
looks for LibTorch this looks too: Torch_DIR, CMAKE_PREFIX_PATH, the folder that cmake/bootstrap.sh made.
"""

import os
import pathlib
import re

HEADERS = "include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"


def places():
    if "Torch_DIR" in os.environ:
        yield pathlib.Path(os.environ["Torch_DIR"]) / "../../.."
    for prefix in re.split("[:;]", os.environ.get("CMAKE_PREFIX_PATH", "")):
        if prefix:
            yield pathlib.Path(prefix)
    yield pathlib.Path(os.environ.get("LIBSLICE_DEPS") or pathlib.Path(__file__).parents[1] / ".deps") / "libtorch"


def version(torch):
    """(major, minor) of a LibTorch, from its header."""
    for header in HEADERS:
        if (torch / header).is_file():
            text = (torch / header).read_text()
            found = [re.search(rf"#define TORCH_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR")]
            if all(found):
                return tuple(match[1] for match in found)
    return None


def dynamic_metadata(field, settings=None):
    if field != "dependencies":
        raise RuntimeError(f"torch_requirement: gives dependencies, not {field}")
    for torch in places():
        if found := version(torch):
            return [f"torch=={'.'.join(found)}.*"]
    raise RuntimeError("libslice: no LibTorch found. Run cmake/bootstrap.sh, or set Torch_DIR or CMAKE_PREFIX_PATH.")
