#!/usr/bin/env bash
# check_install.sh BUILD...: installs each build and looks at the result as a stranger to the checkout would: every
# header alone, no foreign path in a file, examples/find_package built with it, and all of it moved elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { printf 'check_install: %s\n' "$*" >&2; exit 1; }
cached() { sed -n "s/^$2:[A-Z]*=//p" "$1/CMakeCache.txt"; } # cached BUILD VARIABLE

headers_alone() { # headers_alone PREFIX COMPILER LIBTORCH
  (
    cd "$1/include"
    # shellcheck disable=SC2016  # expanded by the inner shell
    find libslice -name '*.h' -print0 | xargs -0 -P 2 -I {} bash -c 'echo "#include \"$1\"" | "${@:2}" -' bash {} \
      "$2" -std=c++20 -fsyntax-only -Wall -Wextra -Werror -x c++ -I . -isystem "$3/include" \
      -isystem "$3/include/torch/csrc/api/include"
    printf '%d headers stand alone\n' "$(find libslice -name '*.h' | wc -l)"
  )
}

own_paths_only() { # own_paths_only PREFIX: in what is installed for CMake and in the paths of libraries and programs
  if grep -rnF --include='*.cmake' "$checkout" "$1"; then fail "an installed file names this checkout"; fi
  find "$1" -type f \( -name '*.so*' -o -path '*/bin/*' \) | while read -r file; do
    paths=$(readelf -d "$file" | sed -n 's/.*R\(UN\)\?PATH.*\[\(.*\)\]/\2/p')
    printf '%s: [%s]\n' "${file#"$1/"}" "$paths"
    if tr : '\n' <<<"$paths" | grep -v '^\$ORIGIN\|^$'; then fail "$file: looks for libraries in a foreign place"; fi
  done
}

for build in "$@"; do
  printf -- '--- %s\n' "$build"
  libtorch=$(dirname "$(cached "$build" LIBSLICE_TORCH_INCLUDE_DIR)")
  prefix=$work/built
  cmake --install "$build" --prefix "$prefix" >/dev/null
  own_paths_only "$prefix"
  if [ ! -e "$work/include" ]; then
    headers_alone "$prefix" "$(cached "$build" CMAKE_CXX_COMPILER)" "$libtorch"
    cp -r "$prefix/include" "$work"
  fi
  diff -r "$work/include" "$prefix/include" || fail "builds differ in their headers"

  mv "$prefix" "$work/moved"
  cmake -S examples/find_package -B "$work/example" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved;$libtorch" >/dev/null
  cmake --build "$work/example"
  "$work/example/find_package_example" tests/data/tiny_llama_gqa
  "$work/example/embed" tests/data/trained_phi "The house" "A river"
  # A C program needs LibTorch by libslice alone, which, where it is shared, leaves the place to the loader.
  LD_LIBRARY_PATH=$libtorch/lib "$work/example/embed_c" tests/data/trained_phi "The house"
  cmake --install "$work/example" --prefix "$work/moved" >/dev/null
  own_paths_only "$work/moved"
  mv "$work/moved" "$work/elsewhere"
  LD_LIBRARY_PATH=$libtorch/lib "$work/elsewhere/bin/find_package_example" tests/data/tiny_llama_gqa
  LD_LIBRARY_PATH=$libtorch/lib "$work/elsewhere/bin/embed_c" tests/data/trained_phi "The house"
  rm -rf "$work/elsewhere" "$work/example"
done
