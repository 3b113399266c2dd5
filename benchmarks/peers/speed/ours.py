"""What bench_decode and bench_prefill wrote, and other programs' times beside it."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "reference"))
import rows

PROMPT, RUN = 128, 32  # bench_decode's: tokens in the cache before the clock starts, tokens timed; 144 in the middle
LENGTH = 2048          # bench_prefill's


def arguments(parser):
    parser.add_argument("--ours", required=True, help="rows of bench_decode and bench_prefill, of the same run")
    parser.add_argument("--csv", required=True, help="file to append rows to")
    parser.add_argument("--model", default="llama2-7b", help="whose rows")


def measured(path, model):
    """(metric, batch) → our last row of it, the dense model's in float16."""
    return {(row["metric"], int(row["batch"])): row for row in rows.read(path)
            if row["model"] == model and row["form"] == "dense" and row["dtype"] == "float16"
            and row["metric"] in ("decode_ms", "prefill_ms") and row["baseline"] == "libtorch"}


def write(options, name, times, **changes):
    """Appends a row of each of `times`, (metric, batch) → milliseconds, and says what it says."""
    ours = measured(options.ours, options.model)
    for (metric, batch), theirs in times.items():
        row = ours.get((metric, batch))
        if row is None:
            print(f"{name} {metric} batch {batch}: {theirs:.4g} ms; {options.ours} has no row of ours")
            continue
        rows.beside(options.csv, row, name, theirs, benchmark="peers", **changes)
        print(f"{name} {metric} batch {batch}: {theirs:.4g} ms, ours {float(row['value']):.4g} ms "
              f"({theirs / float(row['value']):.2f}x)", flush=True)
