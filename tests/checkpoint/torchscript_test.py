"""What write_torchscript writes, run by PyTorch alone: logits beside those of Transformers.

    python3 torchscript_test.py BIN          BIN has write_torchscript

Wants the package torch; without it it says so and is skipped (exit code 77). The models are the tiny checkpoints of
tests/data, dense and sliced, whose logits Transformers gave.
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile

SKIPPED = 77
DATA = pathlib.Path(__file__).resolve().parents[1] / "data"


def golden(folder):
    """Tensors of a golden.safetensors by name."""
    import torch
    data = (folder / "golden.safetensors").read_bytes()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            dtype = {"I64": torch.int64, "F32": torch.float32}[entry["dtype"]]
            values = torch.frombuffer(bytearray(data[begin + first:begin + last]), dtype=dtype)
            tensors[name] = values.reshape(entry["shape"])
    return tensors


def write(binaries, folder, file, *more):
    return subprocess.run([binaries / "write_torchscript", folder, file, "--quiet", *more], capture_output=True, text=True)


def compare(binaries, folder, file):
    """How far the logits lie apart, relative to the largest."""
    import torch
    done = write(binaries, folder, file, "--dtype", "fp32")
    assert done.returncode == 0, done.stderr
    model = torch.jit.load(file).eval()
    names = {name for name, _ in model.named_parameters()}
    assert names == set(model.state_dict()), names
    want = golden(folder)
    got = model(want["tokens"])
    assert got.dtype == torch.float32 and got.shape == want["logits"].shape
    half = model.to(torch.bfloat16)(want["tokens"])  # what the types may be changed to afterwards
    assert half.dtype == torch.float32 and half.isfinite().all()
    return ((got - want["logits"]).abs().max() / want["logits"].abs().max()).item()


def main():
    try:
        import torch  # noqa: F401
    except ImportError as error:
        print("skipped:", error)
        sys.exit(SKIPPED)
    binaries, worst, count = pathlib.Path(sys.argv[1]), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(DATA.glob("*/golden.safetensors")):
            folder, file = path.parent, pathlib.Path(scratch) / (path.parent.name + ".pt")
            if "mixtral" in folder.name or "moe" in folder.name:
                refused = write(binaries, folder, file)
                assert refused.returncode == 1 and "it has experts" in refused.stderr and not file.exists(), refused
                continue
            apart = compare(binaries, folder, file)
            assert apart < 1e-4, (folder.name, apart)
            worst, count = max(worst, apart), count + 1
    assert count > 50, count
    print(f"{count} models within {worst:.0e}")


if __name__ == "__main__":
    main()
