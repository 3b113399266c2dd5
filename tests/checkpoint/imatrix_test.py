"""What write_imatrix writes, read by the package gguf: its keys, shapes and sums beside those of Transformers.

    python3 imatrix_test.py BIN          BIN has write_imatrix and slice_model

Wants the packages gguf, torch and transformers; without them it says so and is skipped (exit code 77). What each
matrix reads comes from hooks on Transformers' modules, and what a file calls it from gguf's own table of names. With
LLAMA_QUANTIZE, a llama-quantize, that reads the files too.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

from llama_cpp_test import SKIPPED, run, write_model

CONTEXT, WINDOWS = 64, 6
TEXT = "the rain in Spain stays mainly in the plain, " * 200
# Of llama_cpp_cases.py; "k" is llama with a smaller hidden size, which is another stream than the one it was cut from.
NAMES = {"llama": "llama", "phi3": "phi3", "gpt2": "gpt2", "starcoder2": "starcoder2", "qwen3_moe": "qwen3moe"}


def missing():
    names = [name for name in ("gguf", "torch", "transformers") if importlib.util.find_spec(name) is None]
    return ", ".join(names)


def expected(folder, architecture):
    """By GGUF name: (E, in) sums of squares, (E) tokens."""
    import gguf
    import tokenizers
    import torch
    import transformers
    eager = {"experts_implementation": "eager"} if architecture.endswith("moe") else {}  # the other has no float64
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, **eager).eval()
    ids = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, model.config.num_hidden_layers)
    sums = {}

    def add(name, x, slice=0, slices=1):
        square, count = sums.setdefault(name, (torch.zeros(slices, x.shape[-1], dtype=torch.float64),
                                               torch.zeros(slices)))
        square[slice] += x.reshape(-1, x.shape[-1]).square().sum(0)
        count[slice] += x.numel() // x.shape[-1]

    def experts(module, inputs):
        """By the book, from the weights."""
        n = inputs[0].reshape(-1, inputs[0].shape[-1])
        block = "blk." + module.libslice_name.split(".")[2]
        add(block + ".ffn_gate_inp.weight", n)
        chosen = (n @ module.gate.weight.T).topk(model.config.num_experts_per_tok).indices
        count = model.config.num_experts
        for e in range(count):
            own = n[(chosen == e).any(1)]
            gate, up = (own @ module.experts.gate_up_proj[e].T).chunk(2, -1)
            add(block + ".ffn_gate_exps.weight", own, e, count)
            add(block + ".ffn_up_exps.weight", own, e, count)
            add(block + ".ffn_down_exps.weight", torch.nn.functional.silu(gate) * up, e, count)

    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind.endswith("SparseMoeBlock"):
            module.libslice_name = name
            module.register_forward_pre_hook(experts)
        elif kind in ("Linear", "Conv1D") and ".mlp.gate." not in name + "." and "lm_head" not in name:
            stored = names.get_name(name + ".weight", try_suffixes=(".weight",))
            assert stored, name
            module.register_forward_pre_hook(lambda module, inputs, stored=stored: add(stored, inputs[0]))
    with torch.no_grad():
        for i in range(WINDOWS):
            model(torch.tensor([ids[i * CONTEXT:(i + 1) * CONTEXT]]))
    return {name: (square.numpy(), count.numpy()) for name, (square, count) in sums.items()}


def check(file, want):
    import gguf
    import numpy
    reader = gguf.GGUFReader(file)
    keys = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert keys == {"general.type": "imatrix", "imatrix.datasets": ["text.txt"], "imatrix.chunk_count": WINDOWS,
                    "imatrix.chunk_size": CONTEXT}, keys
    got = {tensor.name: tensor for tensor in reader.tensors}
    assert set(got) == {name + kind for name in want for kind in (".in_sum2", ".counts")}, sorted(got)
    worst = 0
    for name, (square, count) in want.items():
        sums, counts = got[name + ".in_sum2"], got[name + ".counts"]
        assert sums.tensor_type == counts.tensor_type == gguf.GGMLQuantizationType.F32
        assert list(sums.shape) == [square.shape[1], square.shape[0]], (name, sums.shape)
        assert list(counts.shape) == [1, count.size], (name, counts.shape)
        assert (counts.data.reshape(-1) == count).all(), name
        worst = max(worst, numpy.abs(sums.data.reshape(square.shape) - square).max() / square.max())
    assert worst < 1e-4, worst
    return f"{len(want)} matrices within {worst:.0e}"


def quantise(program, model, imatrix, scratch):
    done = subprocess.run([program, "--imatrix", imatrix, model, scratch / "small.gguf", "Q4_0"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-400:]
    bare = [line for line in (done.stdout + done.stderr).split("\n") if "did not find weights" in line]
    assert all("token_embd" in line or "output.weight" in line for line in bare), bare


def main():
    lacking = missing()
    if lacking:
        print("skipped: these packages are not installed:", lacking)
        sys.exit(SKIPPED)
    binaries, program = pathlib.Path(sys.argv[1]), os.environ.get("LLAMA_QUANTIZE")
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        text = scratch / "text.txt"
        text.write_text(TEXT)

        def compare(label, folder, architecture):
            file = scratch / (label + "-imatrix.gguf")
            run(binaries / "write_imatrix", folder, file, "--calibration", text, "--context", CONTEXT, "--samples",
                WINDOWS, "--order", "first", "--bos", "no", "--quiet")
            said = check(file, expected(folder, architecture))
            if program:
                model = scratch / (label + ".gguf")
                run(binaries / "write_gguf", folder, model, "--gguf-type", "f16", "--quiet")
                quantise(program, model, file, scratch)
                said += ", llama-quantize reads it"
            print(f"{label:12} {said}", flush=True)

        for name, architecture in NAMES.items():
            folder = scratch / name
            write_model(name, folder)
            compare(name, folder, architecture)
        run(binaries / "slice_model", scratch / "llama", "--out", scratch / "k", "--calibration", text, "--context", 64,
            "--samples", 8, "--quiet", "--slice", 0.25, "--round", 8, "--shortcut", "none", "--head", "slice")
        compare("k", scratch / "k", "llama")


if __name__ == "__main__":
    main()
