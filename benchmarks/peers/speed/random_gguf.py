"""Writes a LLaMA of random float16 weights as a GGUF, LLaMA-2 7B's sizes unless others are given: 13.5 GB.

    PYTHONPATH=LLAMA_CPP/gguf-py python3 random_gguf.py OUT.gguf [--layers 32] …

It has no vocabulary, which llama-bench and llama-batched-bench do not need. Weights are normal, of a deviation that keeps
the stream near unit size, as those of bench_decode are; tensors are read out of one block of them at different places.
"""
import argparse
import os

import gguf
import numpy

BLOCK = (1 << 24) + 1  # numbers: an odd number, so that rows of two tensors do not meet again


def shapes(o):
    """(name, rows, columns) of the matrices, (name, size) of the norms, in the file's order."""
    kv = o.hidden // o.heads * o.kv_heads
    yield "token_embd", o.vocabulary, o.hidden
    for layer in range(o.layers):
        name = f"blk.{layer}."
        yield name + "attn_norm", o.hidden
        yield name + "attn_q", o.hidden, o.hidden
        yield name + "attn_k", kv, o.hidden
        yield name + "attn_v", kv, o.hidden
        yield name + "attn_output", o.hidden, o.hidden
        yield name + "ffn_norm", o.hidden
        yield name + "ffn_gate", o.ffn, o.hidden
        yield name + "ffn_up", o.ffn, o.hidden
        yield name + "ffn_down", o.hidden, o.ffn
    yield "output_norm", o.hidden
    yield "output", o.vocabulary, o.hidden


def describe(writer, o):
    writer.add_context_length(4096)
    writer.add_embedding_length(o.hidden)
    writer.add_block_count(o.layers)
    writer.add_feed_forward_length(o.ffn)
    writer.add_head_count(o.heads)
    writer.add_head_count_kv(o.kv_heads)
    writer.add_rope_dimension_count(o.hidden // o.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(o.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("no_vocab")
    for name, *shape in shapes(o):
        kind = numpy.dtype(numpy.float16 if len(shape) == 2 else numpy.float32)
        writer.add_tensor_info(name + ".weight", shape, kind, int(numpy.prod(shape)) * kind.itemsize)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    for name, size in {"layers": 32, "hidden": 4096, "heads": 32, "kv-heads": 32, "ffn": 11008, "vocabulary": 32000}.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    o = parser.parse_args()
    chance = numpy.random.default_rng(0)
    normal = chance.standard_normal(BLOCK, numpy.float32)
    blocks = {}  # of a deviation

    def weight(rows, columns, deviation):
        if deviation not in blocks:
            blocks[deviation] = (normal * deviation).astype(numpy.float16)
        block = numpy.roll(blocks[deviation], int(chance.integers(BLOCK)))
        return numpy.resize(block, (rows, columns))  # repeated

    partial = f"{o.out}.partial"
    writer = gguf.GGUFWriter(partial, "llama")
    describe(writer, o)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, *shape in shapes(o):
        deviation = 1.0 if name == "token_embd" else shape[-1] ** -0.5
        writer.write_tensor_data(weight(*shape, deviation) if len(shape) == 2 else numpy.ones(shape, numpy.float32))
    writer.close()
    os.replace(partial, o.out)
    print(f"{o.out}: {os.path.getsize(o.out) / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
