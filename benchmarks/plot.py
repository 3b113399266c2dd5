"""Draws the figures of docs/results from the rows of its CSV files: small SVGs, the same bytes from the same rows.

    python3 benchmarks/plot.py [FOLDER]        FOLDER: of the CSV files; docs/results

matplotlib comes from `cmake/bootstrap.sh --plots`, or is this Python's own; without either the program says so and ends
with status 4. A figure whose rows are not there is left as it is.
"""

import os
import pathlib
import sys

import rows

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(pathlib.Path(os.environ.get("LIBSLICE_DEPS", ROOT / ".deps")) / "plots"))
try:
    import matplotlib
except ImportError:
    matplotlib = None
else:
    matplotlib.use("svg")
    from matplotlib import pyplot

# Each at least 3 : 1 against white and against GitHub's dark page, so one file serves both.
COLOURS = ["#2f81f7", "#d9730d", "#2a9d4a", "#a371f7", "#d6568b"]
GREY = "#7a828b"
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "libslice", "font.size": 9,
    "font.sans-serif": ["DejaVu Sans", "Arial"], "savefig.transparent": True, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    **dict.fromkeys(["text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color",
                     "grid.color"], GREY),
}


def panels(count, width=3.6):
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(1, count, figsize=(width * count, 3.2), squeeze=False, layout="constrained")
    return figure, axes[0]


def plain_ticks(axis, values):
    axis.set_major_locator(matplotlib.ticker.FixedLocator(values))
    axis.set_major_formatter(matplotlib.ticker.FixedFormatter([f"{value:g}" for value in values]))
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def save(figure, folder, name, used):
    figure.supxlabel(rows.source(used), fontsize=7)
    figure.savefig(pathlib.Path(folder) / name, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def newest_gpu(selected):
    """Rows of the card that the last of them was measured on: cards do not mix in a line."""
    return [row for row in selected if row["gpu"] == selected[-1]["gpu"]] if selected else []


def line(axes, points, colour, label, **style):
    points = sorted(points)
    axes.plot([x for x, _ in points], [y for _, y in points], color=colour, label=label, markersize=4, **style)


def draw_decode(every, folder):
    """Milliseconds of a step against the batch, with the floor and LibTorch's modules."""
    decode = newest_gpu([r for r in every if r["metric"] == "decode_ms" and r["benchmark"] == "decode" and
                         r["baseline"] == "libtorch"])
    curves = {}
    for row in decode:
        curves.setdefault((row["model"], row["form"]), []).append(row)
    curves = {name: curve for name, curve in curves.items() if len(curve) > 2}
    if not curves:
        return
    figure, (axes,) = panels(1, 5.4)
    for ((model, form), curve), colour in zip(curves.items(), COLOURS):
        batches = [int(row["batch"]) for row in curve]
        line(axes, zip(batches, [r["value"] for r in curve]), colour, f"{model} {form}", marker="o")
        line(axes, zip(batches, [r["floor"] for r in curve]), colour, None, linestyle="--")
        line(axes, zip(batches, [r["baseline_value"] for r in curve]), colour, None, linestyle=":")
    line(axes, [], GREY, "floor: bytes read", linestyle="--")
    line(axes, [], GREY, "LibTorch's modules", linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    used = [row for curve in curves.values() for row in curve]
    plain_ticks(axes.xaxis, sorted({int(row["batch"]) for row in used}))
    plain_ticks(axes.yaxis, [2, 4, 8, 16, 32])
    axes.set(xlabel="sequences of a batch", ylabel="ms a step")
    axes.legend()
    save(figure, folder, "decode.svg", used)


def shortcut_work(row):
    """FLOP and bytes of one decode_linear call, as benchmarks/bench_shortcut.cpp counts them."""
    N, K = (int(part[1:]) for part in row["model"].split()[1].split("x"))
    M, form = int(row["batch"]), row["form"]
    inner = K + {"dense": N, "lowrank64": 64}.get(form, 0)
    stream = 0 if "reader" in form else N
    written = N // 2 if form == "gated-reader" else N
    return 2 * M * N * inner, 2 * (N * inner + M * (K + stream + written))


def draw_roofline(every, folder):
    """FLOP/s against FLOP a byte, under the bandwidth and the arithmetic that the same runs measured."""
    linear = newest_gpu([r for r in every if r["metric"] == "shortcut_chain_us" and r["dtype"] == "float16" and
                         r["model"].startswith("llama2-7b/")])
    prefill = [r for r in every if r["metric"] == "prefill_ms" and r["floor"] and r["model"] in rows.SHAPES and
               r["baseline"] == "libtorch"]
    if not linear:
        return
    figure, (axes,) = panels(1, 5.4)
    bandwidths, used = [], list(linear)
    for kind, colour in zip(("attention", "mlp", "qkv", "gate-up", "head"), COLOURS):
        selected = [row for row in linear if row["model"].split()[0].endswith("/" + kind)]
        work = [shortcut_work(row) for row in selected]
        bandwidths += [size / row["floor"] * 1e6 for row, (_, size) in zip(selected, work)]
        for label, column, face in ((f"decode_linear, {kind}", "value", colour), (None, "baseline_value", "none")):
            axes.scatter([flop / size for flop, size in work],
                         [flop / row[column] * 1e-6 for row, (flop, _) in zip(selected, work)],
                         s=14, edgecolors=colour, facecolors=face, linewidths=0.8, label=label)
    ceilings = []
    for row in newest_gpu(prefill):
        if row["gpu"] != linear[-1]["gpu"]:
            break
        flop, size = rows.prefill_flop(row["model"], row["form"], int(row["batch"]), int(row["length"]))
        axes.scatter([flop / size], [flop / row["value"] * 1e-9], marker="s", s=14, color=GREY,
                     label="a whole prompt" if not ceilings else None)
        ceilings.append(flop / row["floor"] * 1e-9)
        used.append(row)
    bandwidth, ceiling = sorted(bandwidths)[len(bandwidths) // 2], max(ceilings, default=None)
    end = ceiling * 1e12 / bandwidth if ceiling else 64
    line(axes, [(0.5, 0.5 * bandwidth * 1e-12), (end, end * bandwidth * 1e-12)], GREY, "read bandwidth", linewidth=1)
    if ceiling:
        line(axes, [(end, ceiling), (16384, ceiling)], GREY, "largest product", linewidth=1, linestyle="--")
    axes.scatter([], [], s=14, edgecolors=GREY, facecolors="none", linewidths=0.8, label="hollow: cuBLAS")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    plain_ticks(axes.xaxis, [4**power for power in range(8)] if ceiling else [1, 2, 4, 8, 16, 32, 64])
    plain_ticks(axes.yaxis, [1, 3, 10, 30, 100, 300, 1000])
    axes.set(xlabel="FLOP a byte", ylabel="TFLOP/s")
    axes.legend(fontsize=7)
    save(figure, folder, "roofline.svg", used)


def layers_of(row):
    """Layers that were sliced: the whole model's unless the label says how many."""
    name, _, rest = row["model"].partition("-layers")[0].rpartition("-")
    if row["model"].endswith("-layers"):
        return name, int(rest)
    return row["model"], rows.SHAPES[row["model"]][1] if row["model"] in rows.SHAPES else 0


def draw_slicing(every, folder):
    """Seconds against calibration windows, against layers, and against the hidden size, one varied at a time."""
    selected = newest_gpu([r for r in every if r["metric"] == "slicing_s" and r["benchmark"] == "slicing" and
                           r["form"] == "slicegpt25" and "ballast" not in r["kind"]])
    if not selected:
        return
    places = [(*layers_of(row), int(row["batch"]), row) for row in selected]
    few = min(layers for name, layers, windows, _ in places if name == "llama2-7b")
    choices = (
        (f"LLaMA-2 7B, {few} layers", "windows of 2048 tokens",
         [(windows, row) for name, layers, windows, row in places if (name, layers) == ("llama2-7b", few)]),
        ("LLaMA-2 7B, 128 windows", "layers",
         [(layers, row) for name, layers, windows, row in places if (name, windows) == ("llama2-7b", 128)]),
        (f"{few} layers, 128 windows", "hidden size D",
         [(rows.HIDDEN[name], row) for name, layers, windows, row in places if (layers, windows) == (few, 128)]),
    )
    figure, axes = panels(3, 3)
    used = []
    for panel, (title, label, points) in zip(axes, choices):
        line(panel, [(x, row["value"]) for x, row in points], COLOURS[0], "measured", marker="o")
        line(panel, [(x, row["floor"]) for x, row in points], GREY, "floor", linestyle="--")
        panel.set_title(title, fontsize=9)
        panel.set(xlabel=label, xlim=(0, None), ylim=(0, None))
        used += [row for _, row in points if row not in used]
    axes[0].set_ylabel("seconds")
    axes[0].legend(loc="upper left")
    save(figure, folder, "slicing.svg", used)


def draw_quality(every, folder):
    """Perplexity of SmolLM2-135M against the share of the block weights that is gone."""
    names = {"slicegpt": "SliceGPT, dense shortcuts", "refit-none": "refit, no shortcut", "refit-stock": "refit, stock",
             "refit": "refit, channels alone"}
    figure, axes = panels(2, 3.9)
    used = []
    for panel, text in zip(axes, ("WikiText-2 test, 152 windows", "Alpaca")):
        selected = [r for r in every if r["model"] == "smollm2-135m" and r["metric"] == "perplexity" and
                    r["dtype"] == "float32" and r["kind"].startswith(text) and "ballast" not in r["kind"] and
                    "16 train" not in r["kind"] and rows.removed_share(r) is not None]
        selected = list({row["form"]: row for row in selected}.values())  # the newest of a form
        for (method, label), colour in zip(names.items(), COLOURS):
            points = [(100 * rows.removed_share(row), row["value"]) for row in selected
                      if row["form"].partition("-k")[0] == method]
            line(panel, points, colour, label, marker="o")
        dense = next((row["value"] for row in selected if row["form"] == "dense"), None)
        if dense:
            panel.axhline(dense, color=GREY, linestyle="--", linewidth=1, label="dense")
        panel.set_yscale("log")
        plain_ticks(panel.yaxis, [10, 20, 40, 80, 160, 320, 640])
        panel.set_title(text.partition(",")[0], fontsize=9)
        panel.set(xlabel="block weights removed, %")
        used += selected
    if not used:
        pyplot.close(figure)
        return
    axes[0].set_ylabel("perplexity")
    axes[0].legend(fontsize=7)
    save(figure, folder, "quality.svg", used)


def main(folder=ROOT / "docs/results"):
    if matplotlib is None:
        print("plot: no matplotlib here, figures stay as they are (cmake/bootstrap.sh --plots)", file=sys.stderr)
        return 4
    every = rows.latest(rows.read(folder))
    with matplotlib.rc_context(STYLE):
        for draw in (draw_decode, draw_roofline, draw_slicing, draw_quality):
            draw(every, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
