"""The fenced blocks of README.md and docs/.

A comment of HTML right above a block, which readers do not see, says what a test has to know:
    <!-- skip: WHY -->       it is not run
    <!-- given: C++ -->      declarations before the statements of a cpp block
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
LANGUAGES = {"sh", "cpp", "cmake", "python", "text"}  # text: what a program prints or takes, nothing to run
# What a reader puts in for a capital word, and the tiny model's sizes for SmolLM2's.
PLACES = {"MODEL": "model", "TEXT": "prose.txt", "DIR": "sliced", "--ffn 1096": "--ffn 384",
          "--context 1024": "--context 64", ".context = 2048": ".context = 64"}


class Block:
    def __init__(self, document, line, language, notes):
        self.document, self.line, self.language, self.text = document, line, language, ""
        self.skip, self.given = notes.get("skip"), notes.get("given", "")

    def __str__(self):
        return f"{self.document}:{self.line} {self.language}"


def documents():
    return ["README.md"] + sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))


def blocks_of(document):
    found, block, notes = [], None, {}
    for number, line in enumerate((ROOT / document).read_text().split("\n"), 1):
        if line.startswith("```"):
            if block is None:
                block = Block(document, number, line[3:].strip(), notes)
            else:
                found.append(block)
                block, notes = None, {}
        elif block is not None:
            block.text += line + "\n"
        else:
            note = re.fullmatch(r"<!-- (skip|given): (.*) -->", line)
            notes = {**notes, note[1]: note[2]} if note else {}
    assert block is None, f"{document}: a block that does not end"
    return found


def blocks(language):
    return [block for document in documents() for block in blocks_of(document) if block.language == language]


def prose_of(document):
    """Everything but the blocks."""
    return re.sub(r"^```.*?^```$", "", (ROOT / document).read_text(), flags=re.M | re.S)


def with_places(text):
    for place, value in PLACES.items():
        before = r"(?<![\w./-])" if place.isupper() else ""
        text = re.sub(before + re.escape(place) + r"(?![\w-])", value, text)
    return text
