#!/usr/bin/env python3
"""Writes the section on zero-shot tasks of docs/results/quality.md, and its figures, from the rows of run.py.

    table.py [ROWS.csv …] [--page docs/results/quality.md]        ROWS.csv: docs/results/quality/rows.csv

The section stands between two marks in the page. Figures are written beside the page; without matplotlib they stay as
they are, and the program ends with status 4. Without rows nothing is written.
"""

import argparse
import pathlib
import sys

import average
import comparison
import figure

ROOT = pathlib.Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- made by benchmarks/quality/table.py: begin -->", "<!-- made by benchmarks/quality/table.py: end -->"
INTRODUCTION = """## Zero-shot tasks, beside SliceGPT and other tools
What a model still answers, zero-shot, as lm-evaluation-harness asks it ([evaluation.md](../evaluation.md)). "Average" is
the mean of {tasks},
in percent, ± its standard error. "Retained" is its share of the dense model's average, "above chance" the same of what
exceeds guessing. "Blocks" are block weights removed, dense shortcuts counted; SliceGPT is given the smallest hidden size
by which it removes no more than was asked for, and refit removes that or a little more. "Refit" is what
`--remove-blocks` does with no other flag: a model that loads everywhere. "Free layout" is `--layout free`, "equal widths" `--slice 0
--ffn N`, "trained" `--recover 4`, which trains each sublayer on the calibration text and is no part of the comparison. "Worst" is the task that lost most, in points. Bytes stored are those of the
weight files, 10⁶ bytes a MB; "read" those of the weights that one token of decoding reads. Every number is of a row of
[quality/rows.csv](quality/rows.csv), made by one command (`benchmarks/quality/README.md`).

Refit is above SliceGPT in the average and in both perplexities at every model, share and text. Single tasks are not everywhere:
WinoGrande, where even the dense models hardly beat chance, in five pairs (by 0.2 to 1.7 points; standard error 1.4), and
ARC-challenge in two of those calibrated on WikiText-2 at −30 % (by 0.2 and 0.9; standard error 1.3); they are listed at the end.
Quantisation wins where bytes are what counts: llama.cpp's Q4_K_M keeps nearly everything in two fifths of the
bytes. The two compose, for a sliced model is a dense one: "Q4_K_M of refit" was sliced first, and loses what either loses. Truncated
SVD and 2:4 sparsity lose far more at as many weights. Tokens a second are those of `generate`, one text, on a card of its own while a
second one worked. Gemma 3 norms what its sublayers write, so channels alone are removed, and no SliceGPT stands beside it. Rows of commit 88d8c9e are of the planner before windows were kept apart for choices.
"""
PUBLISHED = """Published for SliceGPT at "25 %" of the hidden size (arXiv 2401.15024): 99 % of the dense average for LLaMA-2
70B, 99 % for OPT-66B, 90 % for Phi-2. Those models are larger than these.
"""


def cells(*values):
    return "| " + " | ".join(str(value) for value in values) + " |"


def number(value, form="{:,.0f}"):
    return "" if value in (None, "") else form.format(value)


def shares(models):
    """Retained shares side by side: the headline."""
    methods = ("slicegpt", *comparison.OURS, "refit-recover")
    lines = [cells("model", "blocks", "calibrated on", *(comparison.LABELS[method] for method in methods)),
             "|---|---:|---|" + "---:|" * len(methods)]
    for model in models:
        found = {(row["fraction"], row["calibration"], row["method"]): row for row in model.rows if row["fraction"]}
        for fraction, calibration in sorted({key[:2] for key in found}):
            row = [found.get((fraction, calibration, method)) for method in methods]
            lines.append(cells(model.name, f"−{100 * fraction:g} %", calibration, *(
                f"{100 * comparison.retained(r, model.dense)[0]:.1f} %" if r else "" for r in row)))
    return lines


def place(row):
    """Dense first, then by fraction, calibration and method, other tools last."""
    methods = [*comparison.LABELS]
    method = methods.index(row["method"]) if row["method"] in methods else len(methods)
    return row["benchmark"] == "peers", row["fraction"] or 0, row["calibration"], method, row["method"]


def seconds(row):
    """Of making a model, and how many were made at once."""
    at_once = row["make_s"] and (row["jobs"] or 1) > 1
    return number(row["make_s"], "{:.3g}") + (f" ({row['jobs']:.0f} at once)" if at_once else "")


def results(model):
    """One table of a model: what every configuration keeps and costs."""
    texts = list(comparison.texts(model.dense))
    lines = [cells("blocks", "calibrated on", "", "average", "retained", "above chance", "worst", *texts, "MB stored",
                   "MB read", "tokens/s", "seconds to make", "peak GiB"),
             "|---:|---|---|---:|---:|---:|---|" + "---:|" * (len(texts) + 5)]
    for row in sorted(model.rows, key=place):
        share, above = comparison.retained(row, model.dense)
        lost, task = comparison.worst(row, model.dense)
        perplexities = comparison.texts(row)
        is_dense = row is model.dense
        peak = row["peak_device_bytes"] or row["peak_host_bytes"]
        lines.append(cells(
            f"−{100 * comparison.removed(row):.1f} %" if row["fraction"] else "", row["calibration"],
            comparison.LABELS.get(row["method"], row["method"]),
            f"{100 * row['average']:.2f} ± {100 * row['average_stderr']:.2f}",
            "" if is_dense else f"{100 * share:.1f} %",
            "" if is_dense or above is None else f"{100 * above:.1f} %".replace("-", "−"),
            "" if is_dense else f"{task} {100 * lost:+.1f}".replace("-", "−"),
            *(number(perplexities.get(text), "{:.2f}") for text in texts),
            number((row["bytes_stored"] or 0) / 1e6, "{:,.1f}"),
            number((row["bytes_read_per_token"] or 0) / 1e6, "{:,.1f}"),
            number(row["tokens_per_s"]), seconds(row), number(peak and peak / 2**30, "{:.2f}")))
    return lines


def every_task(model):
    names = list(comparison.tasks(model.dense))
    lines = [cells("", *(f"{task}, {average.metric(task)}" for task in names)), "|---|" + "---:|" * len(names)]
    for row in sorted(model.rows, key=place):
        told = comparison.tasks(row)
        lines.append(cells(comparison.title(row).partition(", ")[2],
                           *(f"{100 * told[t][0]:.1f} ± {100 * told[t][1]:.1f}" if t in told else "" for t in names)))
    return lines


def above(models):
    """Whether refit is above SliceGPT, and every case in which something of it is not."""
    every = [pair for model in models for pair in comparison.pairs(model)]
    if not every:
        return []
    below = [pair for pair in every if pair.gain <= 0]
    least = min(every, key=lambda pair: pair.gain)
    gain = f"{100 * least.gain:+.2f} ± {100 * least.error:.2f}".replace("-", "−")
    smaller = "; ".join(comparison.title(pair.ours) for pair in every if pair.smaller)
    lines = ["### Where refit is not above SliceGPT",
             f"Of {len(every)} pairs of the same model, fraction and calibration the average of refit is above SliceGPT's in",
             f"{len(every) - len(below)}; the smallest difference is {gain} points ({comparison.title(least.ours)}).",
             f"SliceGPT has fewer block weights than refit in: {smaller or 'none'}.", ""]
    for pair in every:
        told = [(f"average {100 * pair.ours['average']:.2f} against {100 * pair.slicegpt['average']:.2f}")] * (pair in below)
        told += [f"{what} {ours:.2f} against {theirs:.2f}" if what.startswith("perplexity") else
                 f"{what} {100 * ours:.1f} against {100 * theirs:.1f}" for what, ours, theirs in pair.worse]
        lines += [f"- {comparison.title(pair.ours)}: {', '.join(told)}"] if told else []
    return [*lines, ""]


def section(models):
    """The text between the marks."""
    averaged = average.names(models[0].dense)
    names = ", ".join(f"{task} ({average.AVERAGED[task]})" for task in averaged)
    lines = [INTRODUCTION.format(tasks=names), "![Share of the dense average against block weights removed](retained.svg)", "",
             *shares(models), "", PUBLISHED]
    for model in models:
        dense = model.dense
        counts = ", ".join(f"{task} {dense[f'{task}_n']:,.0f}" for task in comparison.tasks(dense))
        lines += [f"### {model.name}",
                  f"{dense['parameters']:,.0f} parameters as stored, {dense['blocks']:,.0f} in the blocks; {dense['dtype']}, "
                  f"{dense['gpu']}. Questions: {counts}.", "", *results(model), ""]
        notes = [f"{comparison.LABELS.get(row['method'], row['method'])}: {row['note']}"
                 for row in model.rows if row["note"]]
        lines += [f"- {note}" for note in dict.fromkeys(notes)] + ([""] if notes else [])
        lines += ["<details><summary>Every task</summary>", "", *every_task(model), "", "</details>", ""]
        absent = [f"{comparison.LABELS[method]} at {100 * fraction:g} %, {calibration}"
                  for fraction, calibration, method in comparison.missing(model)]
        lines += [f"Not measured: {'; '.join(absent)}.", ""] if absent else []
    if any(row["benchmark"] == "peers" for model in models for row in model.rows):
        lines += ["![Share of the dense average against bytes stored](retained_bytes.svg)", ""]
    return "\n".join([*lines, *above(models)])


def put(page, text):
    """The page with a text between its marks. @raises ValueError without them"""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"want the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text.strip()}\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=[ROOT / "docs/results/quality/rows.csv"], type=pathlib.Path)
    parser.add_argument("--page", default=ROOT / "docs/results/quality.md", type=pathlib.Path)
    a = parser.parse_args()
    models, left_out = comparison.models(comparison.read(path for path in a.rows if path.exists()))
    for line in left_out:
        print(f"table: left out: {line}", file=sys.stderr)
    if not models:
        print("table: no rows, the page stays as it is", file=sys.stderr)
        return 0
    try:
        a.page.write_text(put(a.page.read_text(encoding="utf-8"), section(models)), encoding="utf-8")
    except ValueError as error:
        parser.error(f"{a.page}: {error}")
    if figure.plot.matplotlib is None:
        print("table: no matplotlib here, figures stay as they are (cmake/bootstrap.sh --plots)", file=sys.stderr)
        return 4
    figure.draw(models, a.page.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
