"""What README.md and docs/ say of the sources: flags, messages, links.

    python3 docs_facts_test.py BIN          BIN has the programs

Every flag that a document names is one of a program, every message that docs/troubleshooting.md quotes stands in the
sources, every link leads somewhere, and no block is only indented, where docs_test.py would not find it.
"""

import pathlib
import re
import subprocess
import sys

from blocks import ROOT, blocks_of, documents, prose_of

PROGRAMS = ["slice_model", "evaluate", "generate", "inspect", "tokenize", "write_gguf", "write_imatrix",
            "write_torchscript", "serve", "demo", "own_transformer"]


def check_indented():
    """Formulas are indented; a command in their place would not be run."""
    command = re.compile(r"    (?:\w+=\S+ )*(?:pip|python3|cmake|make|torchrun|" + "|".join(PROGRAMS) + r")\b")
    return [f"{document}: fence this:{line}" for document in documents()
            for line in prose_of(document).split("\n") if command.match(line)]


# Flags of other tools that the documents name.
FOREIGN_FLAGS = set("""--preset --build --install --prefix --workflow --target --docs --demo --plots --no-deps
    --trust-remote-code --model --model_args --nproc-per-node --nnodes --node-rank --master-addr --master-port
    --no-python --standalone --imatrix --compute-matrix --name --peers --requests --clients --generate --checkpoint
    --pid --slots --greedy --bound --cmake-prefix
    --local-dir --silent --fail --nproc-per-node""".split())


def check_flags(binaries):
    known = set(FOREIGN_FLAGS)
    for name in PROGRAMS:
        if (binaries / name).exists():  # no server without cpp-httplib
            said = subprocess.run([binaries / name, "--help"], capture_output=True, text=True, check=True).stdout
            known |= set(re.findall(r"--[a-z][\w-]*", said))
    return [f"{document}: no program has {flag}" for document in documents()
            for flag in sorted(set(re.findall(r"(?<![\w-])--[a-z][\w-]*", (ROOT / document).read_text())) - known)]


def messages_of_sources():
    """All string literals, those beside each other joined."""
    joined = []
    for folder in ("libslice", "examples", "cmake"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cpp", ".cmake", ".in", ".py", ".sh"):
                literals = re.sub(r'"\s*\n\s*"', "", path.read_text())
                joined.append(re.sub(r'"\s*\n?\s*"', "", literals).replace('\\"', '"'))
    return "\n".join(joined)


def check_messages():
    """Quoted lines of troubleshooting.md: text blocks. An ellipsis stands for what differs."""
    sources, wrong = messages_of_sources(), []
    for block in blocks_of("docs/troubleshooting.md"):
        if block.language != "text":
            continue
        for line in block.text.strip().split("\n"):
            for part in line.split("…"):
                said = part.strip(" :")
                if len(said) > 3 and said not in sources:
                    wrong.append(f"docs/troubleshooting.md:{block.line}: no source says {said!r}")
    return wrong


def check_links():
    wrong = []
    for document in documents():
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose_of(document)):
            if "://" not in target and not ((ROOT / document).parent / target).exists():
                wrong.append(f"{document}: no {target}")
    return wrong


def main():
    failures = check_indented() + check_links() + check_flags(pathlib.Path(sys.argv[1])) + check_messages()
    sys.exit("\n".join([f"{len(failures)} failed:", *failures]) if failures else 0)


if __name__ == "__main__":
    main()
