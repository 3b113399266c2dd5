#!/usr/bin/env python3
"""Writes the texts and tasks that run.py is given, from a folder of data sets that stays where it is.

    prepare_texts.py DATA OUT [--windows 128 --context 2048]

DATA has wikitext-2/wiki.{train,test}.tokens.xz, alpaca/alpaca_9k.json.xz and zero-shot/*.xz. OUT gets, compressed:

    wikitext2_train.txt.xz  the training text's beginning          wikitext2_test.txt.xz  the test text, whole
    alpaca.txt.xz           all records' beginning, to measure     alpaca_train.txt.xz    records from 4,614 on
    tasks/                  the zero-shot files as they are

A record is its instruction, its input where it has one, and its output, a line each; a blank line stands between
records. Texts to take windows from the beginning of are cut, at the end of a line, after ten characters a token.
"""

import argparse
import json
import lzma
import pathlib
import shutil

LATER = 4614  # the first record that calibrates: none of those that are measured on


def record(parts):
    return parts["instruction"] + ("\n" + parts["input"] if parts["input"] else "") + "\n" + parts["output"]


def beginning(text, characters):
    """At least so many characters, up to the end of a line."""
    end = text.find("\n", characters)
    return text if end < 0 else text[:end + 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--context", type=int, default=2048)
    a = parser.parse_args()
    characters = 10 * a.windows * a.context
    (a.out / "tasks").mkdir(parents=True, exist_ok=True)

    def read(name):
        return lzma.decompress((a.data / name).read_bytes()).decode("utf-8")

    records = [record(parts) for parts in json.loads(read("alpaca/alpaca_9k.json.xz"))]
    texts = {"wikitext2_train": beginning(read("wikitext-2/wiki.train.tokens.xz"), characters),
             "wikitext2_test": read("wikitext-2/wiki.test.tokens.xz"),
             "alpaca": beginning("\n\n".join(records), characters),
             "alpaca_train": beginning("\n\n".join(records[LATER:]), characters)}
    for name, text in texts.items():
        (a.out / f"{name}.txt.xz").write_bytes(lzma.compress(text.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME))
    for path in sorted((a.data / "zero-shot").iterdir()):
        shutil.copyfile(path, a.out / "tasks" / path.name)
    for path in sorted(path for path in a.out.rglob("*") if path.is_file()):
        print(f"{path.stat().st_size:9,d}  {path.relative_to(a.out)}")


if __name__ == "__main__":
    main()
