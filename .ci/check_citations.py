"""Fails on a citation of a document or section that is not there.     python3 .ci/check_citations.py [ROOT]

A section is cited by its heading, and a comment may break the line there:  docs/method.md, "Fusion", "Slicing"
"""
import pathlib, re, subprocess, sys

CITED = re.compile(r'(?<![\w/])(docs/(?:\w+/)*\w+\.md|\w+\.md(?=, "))((?:,? (?:and )?"[^"]+")*)')
# Documents that are not in the repository.
FOREIGN = re.compile(r"\(mathematics\b|\bmathematics §|\bsurface:|§\d+[a-z]\b|\.md, (?:§|[A-Z]\.\d)")
root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")


def headings(document):
    """A document's, without the numbers before and the parentheses after."""
    found = re.findall(r"^#+ (?:\d+\. )?(.*?)(?: \(.*\))?$", document.read_text(), re.M)
    return {heading.replace("`", "") for heading in found}


def complaints(name):
    path = root / name
    text = re.sub(r"[ \t]*\n[ \t]*(?://[/!]?<?|#|\*)?[ \t]*", " ", path.read_text())
    for found in FOREIGN.finditer(text):
        yield f"{name}: {text[found.start():found.start() + 40]!r} is in no document of the repository"
    for cited, sections in CITED.findall(text):
        document = (root if "/" in cited else path.parent) / cited
        if not document.exists():
            yield f"{name}: {cited}: no such document"
            continue
        for section in re.findall(r'"([^"]+)"', sections):
            if section not in headings(document):
                yield f'{name}: {cited}, "{section}": no such section'


listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, text=True)
names = [name for name in listed.split("\n") if re.search(r"\.(h|cpp|cuh?|py|sh|md|cmake|txt)$", name)
         and not name.startswith(("tests/data/", "docs/results/", ".ci/")) and (root / name).is_file()]
wrong = [complaint for name in names for complaint in complaints(name)]
sys.exit("\n".join(wrong) or print(f"citations: {len(names)} files cite what is there"))
