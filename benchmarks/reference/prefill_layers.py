"""Prefill through the published code's sliced layers, and through the dense layers of Transformers that they replace.

    prefill_layers.py --checkout PATH [--shape llama2-7b] [--layers 0] [--batch 1 8] [--length 2048]
                      [--csv reference.csv] [--rows prefill.csv]

All layers of the shape (--layers 0) or the first few, random float16 weights, no cache, no embedding, no head; the
hidden states of random tokens go through. --rows names what bench_prefill wrote in the same run: every row of it that
has a time here gets a twin with baseline "reference". That flatters the reference: bench_prefill also embeds,
keeps the cache and makes the last logits.
"""
import argparse
import statistics
import time

import torch
import transformers

import published
import rows

SAMPLES = 11


def milliseconds(run):
    """Median of a run, the first two left out."""
    times = []
    for sample in range(SAMPLES + 2):
        if torch.cuda.is_available():
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            run()
            end.record()
            end.synchronize()
            taken = begin.elapsed_time(end)
        else:
            start = time.perf_counter()
            run()
            taken = 1000 * (time.perf_counter() - start)
        if sample > 1:
            times.append(taken)
    return statistics.median(times)


def through(layers, hidden, more):
    for layer in layers:
        hidden = layer(hidden, **more)
        if isinstance(hidden, tuple):
            hidden = hidden[0]
    return hidden


def inputs(code, adapter, batch, device):
    """What the model gives its first layer: hidden states and keywords (positions, mask), on the device."""
    hidden, _, more = code.signals.get_layer0_inputs(adapter, batch)
    adapter.model.to(device)
    return code.rotate.map_tensors([hidden, more], device=device)


def slice_as_loaded(code, adapter):
    """Sliced weights as the checkout's loader of a sliced model makes them: whole shortcuts, then cut."""
    hidden, layers = adapter.hidden_size, adapter.get_layers()
    for layer in layers:
        weight = layer.layer.self_attn.q_proj.weight
        for name in ("attn_shortcut_Q", "mlp_shortcut_Q"):
            Q = torch.randn(hidden, hidden, device=weight.device, dtype=weight.dtype) / hidden**0.5
            setattr(layer.layer, name, torch.nn.Parameter(Q))
    scheduler = code.scheduler.ConstSlicingScheduler(published.kept(hidden))
    scheduler.setup(hidden_size=hidden, layers_num=len(layers), parallel_blocks=False)
    code.rotate.slice_rotated_model(adapter, scheduler)
    for parameter in adapter.model.parameters():
        parameter.data = parameter.data.contiguous()


@torch.no_grad()
def measure(arguments):
    """Yields form, batch and milliseconds of all the layers."""
    device = arguments.device
    code = published.load(arguments.checkout, device)
    model = published.dense_model(arguments.shape, arguments.layers, device)
    adapter = code.llama.LlamaModelAdapter(model)
    for form in ("dense", "slice25-dense"):
        if form != "dense":
            adapter = published.fused(code, model, device)
            slice_as_loaded(code, adapter)
        layers = [layer.layer for layer in adapter.get_layers()]
        for batch in arguments.batch:
            tokens = published.batch_of(model.config.vocab_size, batch, arguments.length)
            hidden, more = inputs(code, adapter, tokens, device)
            assert torch.isfinite(through(layers, hidden, more)).all()
            yield form, batch, milliseconds(lambda: through(layers, hidden, more))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", required=True)
    parser.add_argument("--shape", default="llama2-7b", choices=published.SHAPES)
    parser.add_argument("--layers", type=int, default=0, help="0: all")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--csv", default="reference.csv")
    parser.add_argument("--rows")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()

    depth = published.SHAPES[arguments.shape][1]
    layers = arguments.layers or depth
    label = arguments.shape + (f"-{layers}-layers" if layers < depth else "")
    print(f"layers alone, transformers {transformers.__version__}")
    times = {}
    for form, batch, value in measure(arguments):
        times[form, str(batch)] = value
        dense = times["dense", str(batch)]
        pair = {} if form == "dense" else {"baseline": "dense", "baseline_value": dense, "ratio": dense / value}
        rows.append(arguments.csv, benchmark="reference", model=label, form=form, dtype="float16", batch=batch,
                    length=arguments.length, metric="prefill_layers_ms", value=value, unit="ms", kind="measured",
                    **pair)
        print(f"{label} {batch} x {arguments.length}  {form:14} {value:9.3f} ms, {value / layers:7.4f} a layer "
              f"({dense / value:.3f} of dense's speed)", flush=True)
    for row in rows.read(arguments.rows) if arguments.rows else []:
        case = (row["model"], row["dtype"], row["length"], row["metric"])
        theirs = times.get((row["form"], row["batch"]))
        if not theirs or row["baseline"] == "reference" or case != (
                label, "float16", str(arguments.length), "prefill_ms"):
            continue
        rows.beside(arguments.rows, row, "reference", theirs)
        print(f"{row['form']:14} batch {row['batch']:>2}  ours {float(row['value']):9.3f} ms, reference {theirs:9.3f}")


if __name__ == "__main__":
    main()
