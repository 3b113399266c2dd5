"""Writes docs/results/README.md: the latest row of every figure that was measured, as tables.

    python3 benchmarks/summary.py [FOLDER]        FOLDER: of the CSV files; docs/results
"""

import pathlib
import sys

import rows

TITLES = {
    "decode": "Decoding whole models",
    "prefill": "Prompts of whole models",
    "memory_caps": "Fewer cards",
    "shortcut": "decode_linear",
    "kernels": "Other kernels",
    "slicing": "Slicing",
    "quality": "Quality, and whole programs",
    "fit": "What --fit predicts",
    "ranks": "Several GPUs",
    "serving": "The server",
    "peers": "Beside other programs",
}
FIGURES = {
    "decode.svg": "Milliseconds of a decoding step against the batch",
    "roofline.svg": "Achieved arithmetic against arithmetic a byte",
    "slicing.svg": "Seconds to slice against calibration windows, layers and hidden size",
    "quality.svg": "Perplexity against what was removed",
    "retained.svg": "Share of the dense zero-shot average against what was removed",
    "retained_bytes.svg": "Share of the dense zero-shot average against bytes stored",
}
LONG = 40  # rows of a table that is folded away
HEAD = """# Results

Made from the rows of the CSV files here by `make results`, which `make bench` runs at its end; edit neither this page nor the figures.
A table holds the latest row of each figure: its value, the share of the floor that it reaches (1 is the floor), how many times
the baseline takes as long (for tokens/s: its tokens as a fraction of ours), on which card, and at which commit it was measured.
Rows without a commit stay in their files. [quality.md](quality.md) and [performance.md](../performance.md) say what the numbers mean.
"""


def number(value, digits=4):
    """Of so many digits, without an exponent."""
    if value is None:
        return ""
    if value == int(value) and abs(value) >= 10 ** (digits - 1):
        return f"{int(value)}"
    text = f"{value:.{digits}g}"
    return f"{float(text):.12f}".rstrip("0").rstrip(".") if "e" in text else text


def table(selected):
    """Markdown of rows."""
    lines = ["| | form | type | batch | length | | share of floor | baseline | ratio | | GPU, commit |",
             "|---|---|---|---:|---:|---:|---:|---|---:|---|---|"]
    for row in selected:
        cells = [f"{row['model']} {row['metric']}", row["form"], row["dtype"], row["batch"], row["length"],
                 f"{number(row['value'])} {row['unit']}".strip(), number(row["share"], 2), row["baseline"],
                 number(row["ratio"], 3), row["kind"], f"{row['gpu']}, {row['commit']}"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def page(folder):
    """The text of README.md."""
    every = rows.latest(rows.read(folder))
    lines = [HEAD]
    for name, caption in FIGURES.items():
        if (pathlib.Path(folder) / name).exists():
            lines += [f"![{caption}]({name})", ""]
    files = sorted({row["file"] for row in every}, key=lambda name: (list(TITLES) + [name]).index(name))
    for name in files:
        selected = [row for row in every if row["file"] == name]
        lines += [f"## {TITLES.get(name, name)}", f"[{name}.csv]({name}.csv)", ""]
        if len(selected) > LONG:
            lines += [f"<details><summary>{len(selected)} rows</summary>", "", *table(selected), "", "</details>", ""]
        else:
            lines += [*table(selected), ""]
    return "\n".join(lines)


def main(folder=pathlib.Path(__file__).parent.parent / "docs/results"):
    text = page(folder)
    (pathlib.Path(folder) / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
