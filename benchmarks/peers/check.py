"""check.py: what the methods here promise, on small matrices. Names what was not checked for want of a package."""

import importlib.util
import pathlib
import tempfile

import numpy as np
import torch

import sparsity_24
import svd


def check_mask() -> None:
    weight = torch.randn(6, 16)
    masked = weight * sparsity_24.magnitude_mask(weight)
    assert sparsity_24.is_sparse(masked) and not sparsity_24.is_sparse(weight)
    groups, kept = weight.abs().view(6, 4, 4), masked.abs().view(6, 4, 4)
    assert torch.equal(kept.sum(-1), groups.topk(2, dim=-1).values.sum(-1))
    assert sparsity_24.stored_bytes(weight) == 6 * 16 * 9 // 8


def check_svd() -> None:
    """By projection as by the Cholesky factor and its inverse; of inputs whose C has a condition of about 10²."""
    for m, n, rank in ((20, 30, 7), (30, 20, 7)):
        weight = torch.randn(m, n, dtype=torch.double)
        x = torch.randn(200, n, dtype=torch.double) * torch.logspace(0, -1, n, dtype=torch.double)  # (tokens, n)
        moment = x.T @ x
        lower = torch.linalg.cholesky(moment)
        U, S, Vh = torch.linalg.svd(weight @ lower, full_matrices=False)
        direct = (U[:, :rank] * S[:rank]) @ Vh[:rank] @ torch.linalg.inv(lower)
        got = svd.truncated(weight, moment, rank)
        assert torch.allclose(got, direct, atol=1e-10) and torch.linalg.matrix_rank(got) == rank
        assert svd.rank_of(m, n, 0.2) * (m + n) <= 0.8 * m * n


def check_ggml() -> None:
    """llama.cpp's Q8_0 is the gguf package's, and K-quants come back within a bound that a wrong layout exceeds."""
    import ggml_quantise
    import gguf

    loaded, values = ggml_quantise.ggml(), np.random.default_rng(0).standard_normal((3, 512), dtype=np.float32)
    packed = ggml_quantise.quantised(loaded, values, gguf.GGMLQuantizationType.Q8_0)
    assert np.array_equal(packed, gguf.quantize(values, gguf.GGMLQuantizationType.Q8_0))
    for kind, bound in ((gguf.GGMLQuantizationType.Q4_K, 0.1), (gguf.GGMLQuantizationType.Q6_K, 0.03)):
        back = gguf.dequantize(ggml_quantise.quantised(loaded, values, kind), kind)
        assert np.linalg.norm(back - values) < bound * np.linalg.norm(values), kind
    chosen = [ggml_quantise.wanted_type(f"blk.{i}.ffn_down.weight", "q4_k_m", 16, True).name for i in range(16)]
    assert [i for i, name in enumerate(chosen) if name == "Q6_K"] == [0, 1, 4, 7, 10, 13, 14, 15]


def check_healed() -> None:
    """A merged model is what its directory holds: the same names, the head tied, the other files untouched."""
    import heal_lora
    import peft
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    source = pathlib.Path(__file__).parents[2] / "tests/data/tiny_llama_tied_biased"
    ids = torch.arange(3, 20)[None]
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        dense, healed = model(ids).logits, pathlib.Path(folder) / "healed"
        adapted = peft.get_peft_model(model, peft.LoraConfig(**heal_lora.LORA))
        adapters = [p for name, p in adapted.named_parameters() if "lora_B" in name]
        assert len(adapters) == 7 * model.config.num_hidden_layers
        for p in adapters:
            p.normal_()
        heal_lora.save(adapted.merge_and_unload(), source, healed)
        read = AutoModelForCausalLM.from_pretrained(healed, dtype=torch.float32)
        assert torch.equal(read(ids).logits, model(ids).logits) and not torch.allclose(read(ids).logits, dense)
        with safe_open(source / "model.safetensors", "pt") as old, safe_open(healed / "model.safetensors", "pt") as new:
            assert set(old.keys()) == set(new.keys()) and "lm_head.weight" not in new.keys()
        assert (healed / "config.json").read_bytes() == (source / "config.json").read_bytes()


if __name__ == "__main__":
    torch.manual_seed(0)
    check_mask()
    check_svd()
    missing = [name for name in ("gguf", "xllamacpp", "peft") if importlib.util.find_spec(name) is None]
    if not {"gguf", "xllamacpp"} & set(missing):
        check_ggml()
    if "peft" not in missing:
        check_healed()
    print("peers: as promised" + (f"; not all checked without {', '.join(missing)}" if missing else ""))
