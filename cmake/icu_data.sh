#!/usr/bin/env bash
# icu_data.sh LIBICUDATA.a OUT: of ICU's data what libslice uses, half a MB of 30: names and properties of characters,
# normal forms. The rest is about languages, regions and encodings.
set -euo pipefail
archive=$(realpath "$1") out=$(realpath -m "$2")
PATH=$PATH:/usr/sbin # where Debian has icupkg
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
name=$(ar t "$archive" | sed -n 's/_dat\.o$//p') # icudt72l, which icupkg wants its files to be called
ar p "$archive" "${name}_dat.o" >all.o
objcopy -O binary -j .rodata all.o "$name.dat"
icupkg -d . -x '*.icu' "$name.dat"
icupkg -d . -x '*.nrm' "$name.dat"
ls -- *.icu *.nrm >kept.lst
mkdir kept
icupkg -tl -s . -a kept.lst new "kept/$name.dat"
mv "kept/$name.dat" "$out"
