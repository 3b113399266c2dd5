"""Rows of docs/results/*.csv, read back: what a figure or a table is made from."""

import csv
import pathlib
import re

KEY = ("benchmark", "model", "form", "dtype", "batch", "length", "metric", "baseline", "kind", "gpu")
GONE = {"rotated_add"}  # measured once, in the library no more

# D, layers, query heads, key/value heads, head size, FFN width, vocabulary.
SHAPES = {
    "smollm2-135m": (576, 30, 9, 3, 64, 1536, 49152),
    "llama2-7b": (4096, 32, 32, 32, 128, 11008, 32000),
    "llama2-13b": (5120, 40, 40, 40, 128, 13824, 32000),
    "llama2-70b": (8192, 80, 64, 8, 128, 28672, 32000),
}
HIDDEN = {name: shape[0] for name, shape in SHAPES.items()} | {"phi-2": 2560, "opt-6.7b": 4096, "opt-66b": 9216}


def read(folder):
    """Rows of every CSV file of a folder in their order, numbers as numbers; `file` is the file's name."""
    rows = []
    for path in sorted(pathlib.Path(folder).glob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if not row["commit"] or row["benchmark"] in GONE:
                    continue  # a number without a commit cannot be made again
                row["file"] = path.stem
                for column in ("value", "floor", "share", "baseline_value", "ratio"):
                    row[column] = float(row[column]) if row[column] else None
                rows.append(row)
    return rows


def latest(rows):
    """The last row of each key, where the key stood first."""
    newest = {}
    for row in rows:
        newest[tuple(row[column] for column in KEY)] = row
    return list(newest.values())


def source(rows):
    """Where rows come from: "commit b179876, NVIDIA H100 80GB HBM3"."""
    commits = list(dict.fromkeys(row["commit"] for row in rows))
    gpus = list(dict.fromkeys(row["gpu"] for row in rows))
    return f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}; {', '.join(gpus)}"


def sliced_blocks(shape, kept, channels, shortcuts):
    """Weights of a decoder's blocks whose sites keep `kept` of D, the head's site all of it."""
    D, layers, heads, kv_heads, size, _, _ = shape
    total = 0
    for layer in range(layers):
        after = kept if layer + 1 < layers else D
        total += kept * (heads + 2 * kv_heads) * size + heads * size * kept
        total += 2 * kept * channels + channels * after
        total += (kept * kept + kept * after) if shortcuts else 0
    return total


def removed_share(row):
    """Share of the block weights, shortcuts counted, that a row's form removed; None where its form does not say."""
    counted = re.search(r"(\d+) of (\d+) block weights", row["kind"])
    if counted:
        return 1 - int(counted[1]) / int(counted[2])
    shape = SHAPES.get(row["model"])
    form = re.fullmatch(r"(slicegpt|refit-none|refit-stock|refit)-k(\d+)(?:-f(\d+))?", row["form"])
    if row["form"] == "dense":
        return 0.0
    if not shape or not form:
        return None
    method, kept, channels = form[1], int(form[2]), int(form[3] or shape[5])
    dense = sliced_blocks(shape, shape[0], shape[5], False)
    if method == "refit-stock":  # every site, the head's too
        narrow = (kept, *shape[1:])
        return 1 - sliced_blocks(narrow, kept, channels, False) / dense
    return 1 - sliced_blocks(shape, kept, channels, method == "slicegpt") / dense


def prefill_flop(model, form, batch, length):
    """Of one forward pass of a LLaMA, logits of the last position: its products, and causal attention."""
    D, layers, heads, kv_heads, size, F, V = SHAPES[model]
    k, shortcuts = D, 0
    if form.startswith("slice25"):
        k = D // 4 * 3
        shortcuts = {"slice25-dense": 2, "slice25-diagonal": 1}.get(form, 0) * k * k
    elif form == "stock25":
        k, attention = D // 8 * 7, 2 * (heads + kv_heads) * size
        F = round((0.75 * D * (attention + 3 * F) / k - attention) / 3 / 64) * 64
    weights = layers * (k * (2 * (heads + kv_heads) * size + 3 * F) + shortcuts)
    tokens = batch * length
    return 2 * weights * tokens + 2 * layers * heads * size * length * tokens + 2 * batch * k * V, 2 * (weights + k * V)
