"""python -m libslice --cmake-prefix: what a C++ project gives CMake as CMAKE_PREFIX_PATH."""

import sys

from .programs import ROOT, torch_folder

if sys.argv[1:] == ["--cmake-prefix"]:
    print(f"{ROOT};{torch_folder()}")
elif sys.argv[1:] == ["--version"]:
    from . import __version__

    print(f"libslice {__version__}")
else:
    sys.exit("usage: python -m libslice --cmake-prefix | --version")
