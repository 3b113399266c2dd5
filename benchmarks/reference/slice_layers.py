"""Slicing by the published code beside bench_slicing, in one run on one card.

    slice_layers.py --checkout PATH [--libslice build/cuda/bin/bench_slicing] [--shape llama2-7b] [--layers 2]
                    [--windows 128] [--csv docs/results/slicing.csv]

The checkout's own rotate_and_slice takes a few layers of the shape, random float16 weights and tokens, with the
defaults of its program (batches of 16 windows, random final orientation), all windows. Only depth is modelled:
the whole model is what comes before the layers, (L - 1) layers like the measured inner ones, the last layer, which
is not sliced at its end, and the head. Making and fusing the model is not counted. bench_slicing runs on the same
few layers and on the whole shape.
"""
import argparse
import collections
import os
import subprocess
import tempfile
import time

import numpy
import torch
import transformers

import published
import rows

LENGTH = 2048


def wait():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Clock:
    """Seconds of the checkout's parts, by stand-ins for names that its rotate module looks up."""

    def __init__(self, code):
        self.ends, self.parts = [], collections.Counter()
        self.begin = self.loop = None
        code.rotate.tqdm = self._layers
        for name in ("get_layer0_inputs", "get_signals", "pca_calc", "random_orthogonal_upper_left"):
            setattr(code.rotate, name, self._timed(name, getattr(code.rotate, name)))

    def start(self):
        wait()
        self.begin = time.perf_counter()

    def stop(self):
        wait()
        self.end = time.perf_counter()

    def _layers(self, layers, **_):
        wait()
        self.loop = time.perf_counter()
        print(f"  before the layers {self.loop - self.begin:8.2f} s", flush=True)
        for index, layer in enumerate(layers):
            yield layer
            wait()
            self.ends.append(time.perf_counter())
            print(f"  layer {index:2}          {self.seconds()[-1]:8.2f} s", flush=True)

    def _timed(self, name, function):
        def timed(*arguments, **more):
            wait()
            begin = time.perf_counter()
            result = function(*arguments, **more)
            wait()
            self.parts[name] += time.perf_counter() - begin
            return result

        return timed

    def seconds(self):
        return [end - begin for begin, end in zip([self.loop, *self.ends], self.ends)]


def warm_up(hidden, device):
    """Libraries load with their first call; that is not the code's to pay."""
    z = torch.randn(2 * hidden, hidden, dtype=torch.float64, device=device)
    torch.linalg.eigh(z.mT @ z)
    numpy.linalg.qr(numpy.random.rand(256, 256))
    h = torch.randn(1, 8, 64, 64, dtype=torch.float16, device=device)
    torch.nn.functional.scaled_dot_product_attention(h @ h, h, h, is_causal=True)
    wait()


def reference(arguments, layers):
    """The clock of the published code's run."""
    device = arguments.device
    code = published.load(arguments.checkout, device)
    hidden, vocabulary = published.SHAPES[arguments.shape][0], published.SHAPES[arguments.shape][5]
    adapter = published.fused(code, published.dense_model(arguments.shape, layers, device), device)
    adapter.model.cpu()  # its program keeps a model in host memory, and takes a layer at a time to the device
    if device == "cuda":
        torch.cuda.empty_cache()
    loader = [published.batch_of(vocabulary, min(arguments.batch, arguments.windows - first), LENGTH)
              for first in range(0, arguments.windows, arguments.batch)]
    warm_up(hidden, device)
    scheduler = code.scheduler.ConstSlicingScheduler(published.kept(hidden))
    clock = Clock(code)
    clock.start()
    code.rotate.rotate_and_slice(adapter, loader, scheduler, final_orientation="random")
    clock.stop()
    assert adapter.get_layers()[0].layer.mlp.down_proj.weight.shape[0] == published.kept(hidden)
    assert all(torch.isfinite(p).all() for p in adapter.model.parameters())
    return clock


def ours(binary, shape, layers, windows):
    """bench_slicing's row of the total."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.csv")
        subprocess.run([binary, shape, str(layers), str(windows), path], check=True)
        return next(r for r in rows.read(path) if r["metric"] == "slicing_s")


def report(arguments, layers, clock, few, whole):
    """Rows of the published code's parts, and of ours beside it where ours ran; a table of both."""
    depth = published.SHAPES[arguments.shape][1]
    label = arguments.shape + (f"-{layers}-layers" if layers < depth else "")
    *inner, last = clock.seconds()
    layer = sum(inner) / len(inner)
    before, total = clock.loop - clock.begin, clock.end - clock.begin
    after = total - before - sum(inner) - last
    print(f"  after the layers  {after:8.2f} s\n  all               {total:8.2f} s; of it " +
          ", ".join(f"{name} {seconds:.2f}" for name, seconds in clock.parts.items()))
    figures = {"slicing_s": total, "before_layers_s": before, "inner_layer_s": layer, "last_layer_s": last,
               "after_layers_s": after, **{name + "_s": seconds for name, seconds in clock.parts.items()}}
    row = {"benchmark": "slicing", "model": label, "form": "reference-slicegpt25", "dtype": "float16",
           "batch": arguments.windows, "length": LENGTH, "unit": "s", "kind": "measured"}
    for metric, value in figures.items():
        rows.append(arguments.csv, **row, metric=metric, value=value)

    pairs = [(f"{layers} layers", total, few, {})]
    if layers < depth:
        model = before + (depth - 1) * layer + last + after
        modelled = f"modelled: depth from {layers} layers"
        row |= {"model": arguments.shape, "kind": modelled}
        rows.append(arguments.csv, **row, metric="slicing_s", value=model)
        pairs.append(("whole, modelled", model, whole, {"kind": "reference " + modelled}))
        if whole:
            mean = (float(whole["value"]) - float(few["value"])) / (depth - layers)
            mine = {**whole, "metric": "layer_s", "value": mean, "floor": "", "share": ""}
            pairs.append(("an inner layer", layer, mine, {"kind": f"measured: the whole shape less {layers} layers"}))
    print(f"{'':18}{'reference':>12}{'libslice':>12}{'ratio':>8}")
    for name, theirs, mine, changes in pairs:
        line = f"{name:18}{theirs:10.2f} s"
        if mine:
            rows.beside(arguments.csv, mine, "reference", theirs, **changes)
            line += f"{float(mine['value']):10.3f} s{theirs / float(mine['value']):8.1f}"
        print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", required=True)
    parser.add_argument("--libslice", help="bench_slicing; without it only the published code runs")
    parser.add_argument("--shape", default="llama2-7b", choices=published.SHAPES)
    parser.add_argument("--layers", type=int, default=2, help="two or more; 0: all")
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--csv", default="slicing.csv")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    depth = published.SHAPES[arguments.shape][1]
    layers = min(arguments.layers or depth, depth)
    if layers < 2:
        parser.error("--layers: two or more, as the last layer is unlike the others")

    few = whole = None
    if arguments.libslice:
        few = ours(arguments.libslice, arguments.shape, layers, arguments.windows)
        whole = few if layers == depth else ours(arguments.libslice, arguments.shape, 0, arguments.windows)
    print(f"published code, {arguments.shape}, {layers} of {depth} layers, {arguments.windows} x {LENGTH} tokens, "
          f"transformers {transformers.__version__}", flush=True)
    report(arguments, layers, reference(arguments, layers), few, whole)


if __name__ == "__main__":
    main()
