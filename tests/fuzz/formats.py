"""Files of the formats that the fuzz targets read, put together value by value."""

import json
import struct

def safetensors(entries, data):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


U32, I32, F32, BOOL, STRING, ARRAY, U64, F64 = 4, 5, 6, 7, 8, 9, 10, 12
FORMATS = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", F64: "<d"}
BLOCKS = {0: (1, 4), 1: (1, 2), 30: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
          10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)}  # type: values, bytes


def text_bytes(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def plain(kind, value):
    return text_bytes(value) if kind == STRING else struct.pack(FORMATS[kind], value)


def gguf(pairs, tensors):
    """pairs: key → (type, value), where a list is an array of the type; tensors: name → (ggml type, shape)."""
    head, infos, data = b"", b"", b""
    for key, (kind, value) in pairs.items():
        head += text_bytes(key)
        if isinstance(value, list):
            head += struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(plain(kind, entry) for entry in value)
        else:
            head += struct.pack("<I", kind) + plain(kind, value)
    for name, (kind, shape) in tensors.items():
        infos += text_bytes(name) + struct.pack("<I", len(shape))
        infos += b"".join(struct.pack("<Q", extent) for extent in reversed(shape)) + struct.pack("<IQ", kind, len(data))
        count = 1
        for extent in shape:
            count *= extent
        values, size = BLOCKS[kind]
        data += bytes(count // values * size)
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + head + infos
    return head + bytes(-len(head) % 32) + data


def gguf_model(architecture, vocabulary=8, D=8, F=8, kind=0, bias=False):
    key = architecture + "."
    pairs = {"general.architecture": (STRING, architecture), key + "context_length": (U32, 16),
             key + "embedding_length": (U32, D), key + "block_count": (U32, 1), key + "feed_forward_length": (U32, F),
             key + "attention.head_count": (U32, 2), key + "attention.head_count_kv": (U32, 1),
             key + "attention.layer_norm_rms_epsilon": (F32, 1e-5), key + "attention.layer_norm_epsilon": (F32, 1e-5),
             key + "rope.freq_base": (F32, 1e4), key + "rope.dimension_count": (U32, D // 2)}
    tensors = {"token_embd.weight": (kind, [vocabulary, D]), "output_norm.weight": (0, [D]),
               "output.weight": (kind, [vocabulary, D])}
    layer = {"attn_norm": [D], "attn_q": [D, D], "attn_k": [D // 2, D], "attn_v": [D // 2, D], "attn_output": [D, D],
             "ffn_norm": [D], "ffn_gate": [F, D], "ffn_up": [F, D], "ffn_down": [D, F]}
    for name, shape in layer.items():
        tensors[f"blk.0.{name}.weight"] = (kind if len(shape) == 2 else 0, shape)
        if bias and name in ("attn_q", "attn_k", "attn_v"):
            tensors[f"blk.0.{name}.bias"] = (0, shape[:1])
    return pairs, tensors


def gguf_mixture(architecture, experts=2, D=8, F=8, kind=0):
    """A stack of experts for each matrix of the feed-forward network, and a router."""
    pairs, tensors = gguf_model(architecture, D=D, F=F, kind=kind)
    key = architecture + "."
    pairs |= {key + "expert_count": (U32, experts), key + "expert_used_count": (U32, 1),
              key + "expert_feed_forward_length": (U32, F), key + "rope.dimension_count": (U32, D // 2)}
    for name in ("gate", "up", "down"):
        _, shape = tensors.pop(f"blk.0.ffn_{name}.weight")
        tensors[f"blk.0.ffn_{name}_exps.weight"] = (kind, [experts, *shape])
    tensors["blk.0.ffn_gate_inp.weight"] = (0, [experts, D])
    if architecture != "llama":
        widths = (D, D // 2) if architecture == "olmoe" else (D // 2, D // 2)
        tensors |= {f"blk.0.attn_{head}_norm.weight": (0, [width]) for head, width in zip("qk", widths)}
    return pairs, tensors


def gguf_apertus(layers=1):
    """xIELU's constants in lists."""
    pairs, tensors = gguf_model("apertus")
    del tensors["blk.0.ffn_gate.weight"]
    tensors |= {f"blk.0.attn_{head}_norm.weight": (0, [4]) for head in "qk"}
    return pairs | {f"xielu.{name}": (F32, [0.5] * layers) for name in ("alpha_n", "alpha_p", "beta", "eps")}, tensors


def gguf_phi2(D=8, F=8, vocabulary=4):
    """Parallel blocks with one matrix for q, k and v, and biases everywhere."""
    pairs, _ = gguf_model("phi2", D=D, F=F)
    shapes = {"token_embd": [vocabulary, D], "output_norm": [D], "output": [vocabulary, D], "blk.0.attn_norm": [D],
              "blk.0.attn_qkv": [3 * D, D], "blk.0.attn_output": [D, D], "blk.0.ffn_up": [F, D], "blk.0.ffn_down": [D, F]}
    tensors = {name + ".weight": (0, shape) for name, shape in shapes.items()}
    tensors |= {name + ".bias": (0, shape[:1]) for name, shape in shapes.items() if name != "token_embd"}
    return pairs | {"phi2.attention.head_count_kv": (U32, 2), "phi2.rope.dimension_count": (U32, 2)}, tensors


BYTE_CHARACTERS = [chr(c) if 33 <= c < 127 or 161 <= c < 173 or 174 <= c else None for c in range(256)]
spare = iter(range(256, 400))
BYTE_CHARACTERS = [c or chr(next(spare)) for c in BYTE_CHARACTERS]


def tokenizer_json(tokens, merges, **parts):
    model = {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges}
    model |= parts.pop("model", {})
    return json.dumps({"added_tokens": [{"id": len(tokens), "content": "<s>", "special": True, "lstrip": False,
                                         "rstrip": True, "normalized": False, "single_word": False}],
                       "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
                       "model": model} | parts, ensure_ascii=False)


def varint(value):
    text = b""
    while value >= 0x80:
        text, value = text + bytes([value & 0x7F | 0x80]), value >> 7
    return text + bytes([value])


def message(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def sentencepiece(pieces):
    """pieces: (text, score, type). Of type BPE, bytes for unknown characters if they are there, identity normalisation."""
    trainer = b"\x18\x02" + (b"\x98\x02\x01" if any(kind == 6 for _, _, kind in pieces) else b"")
    return b"".join(message(1, message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(kind))
                    for text, score, kind in pieces) + message(2, trainer) + message(3, message(1, b"identity"))


def llama2c_tokenizer(tokens):
    """The vocabulary's size in two bytes, and the file."""
    return struct.pack("<Hi", len(tokens), max(map(len, tokens))) + b"".join(
        struct.pack("<fi", -float(i), len(token.encode())) + token.encode() for i, token in enumerate(tokens))
