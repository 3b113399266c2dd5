"""Writes large valid inputs, in which one thing each is there very often.     python3 make_large.py DIRECTORY

DIRECTORY/<target>/<what>: reading it takes time linear in its size, which is seconds with sanitizers; work that grows with
a square would take minutes.
"""

import json
import pathlib
import struct
import sys

from formats import *

out = pathlib.Path(sys.argv[1])
N = 20_000


def large(target, name, content):
    directory = out / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())


names = [f"t{i}" for i in range(N)]
empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
large("safetensors", "tensors", safetensors({name: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]}
                                             for i, name in enumerate(names)}, bytes(N)))
large("safetensors", "backwards", safetensors({name: {"dtype": "U8", "shape": [1], "data_offsets": [N - i - 1, N - i]}
                                               for i, name in enumerate(names)}, bytes(N)))
large("safetensors", "empty-tensors", safetensors({name: empty for name in names}, b""))
large("safetensors", "metadata", safetensors({"__metadata__": {name: "" for name in names}}, b""))
large("safetensors", "dimensions", safetensors({"t": empty | {"shape": [1] * N + [0]}}, b""))
large("safetensors", "nested", struct.pack("<Q", N) + b"[" * N)

KIND = {"general.architecture": (STRING, "llama")}
large("gguf", "tensors", gguf(KIND, {name: (0, [1]) for name in names}))
large("gguf", "empty-tensors", gguf(KIND, {name: (0, [0]) for name in names}))
large("gguf", "metadata", gguf(KIND | {name: (U32, 1) for name in names}, {}))
large("gguf", "arrays", gguf(KIND | {name: (U32, [1, 2]) for name in names}, {}))
large("gguf", "layers", gguf(*[part | more for part, more in zip(gguf_model("llama"), (
    {"llama.block_count": (U32, 1000)},
    {f"blk.{i}.{name}.weight": (0, shape) for i in range(1000)
     for name, shape in {"attn_norm": [8], "attn_q": [8, 8], "ffn_norm": [8], "ffn_up": [8, 8]}.items()}))]))
tokens = ["<|endoftext|>"] + BYTE_CHARACTERS + ["a" * i for i in range(2, 200)] + names
end = {"tokenizer.ggml.bos_token_id": (U32, 0), "tokenizer.ggml.eos_token_id": (U32, 0)}
gpt2 = KIND | end | {"tokenizer.ggml.model": (STRING, "gpt2"), "tokenizer.ggml.tokens": (STRING, tokens)}
chain = [f"{'a' * i} a" for i in range(1, 199)]
large("gguf", "byte-level", gguf(gpt2 | {"tokenizer.ggml.merges": (STRING, chain)}, {}))
large("gguf", "merges", gguf(gpt2 | {"tokenizer.ggml.merges": (STRING, ["a a"] * N)}, {}))
large("gguf", "special-tokens", gguf(gpt2 | {"tokenizer.ggml.merges": (STRING, chain), "tokenizer.ggml.token_type": (
    I32, [3] + [1] * (len(tokens) - N - 1) + [3] * N)}, {}))
spelt = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581", "a", "t", *"0123456789"]
spelt += ["a" * i for i in range(2, 200)] + ["\u2581" * i for i in range(2, 200)] + names
kinds = [2, 3, 3] + [6] * 256 + [1] * (len(spelt) - 259)
large("gguf", "pieces", gguf(KIND | end | {
    "tokenizer.ggml.model": (STRING, "llama"), "tokenizer.ggml.tokens": (STRING, spelt),
    "tokenizer.ggml.scores": (F32, [-float(i) for i in range(len(spelt))]),
    "tokenizer.ggml.token_type": (I32, kinds)}, {}))
large("sentencepiece", "pieces", sentencepiece([(text, -float(i), kinds[i]) for i, text in enumerate(spelt)]))
large("sentencepiece", "defined", sentencepiece([(text, -float(i), kinds[i] if i < len(spelt) - N else 4)
                                                 for i, text in enumerate(spelt)]))
large("sentencepiece", "long-piece", sentencepiece([(text, -float(i), kinds[i]) for i, text in enumerate(spelt[:300])]
                                                   + [("a" * 10 * N, -300.0, 1)]))
large("llama2c_tokenizer", "pieces", llama2c_tokenizer(spelt))
large("llama2c_tokenizer", "long-piece", llama2c_tokenizer(spelt[:300] + ["a" * 10 * N]))

byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
simple = dict(pre_tokenizer=byte_level, decoder=byte_level)


def added(contents, **flags):
    flags = {"special": True, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False} | flags
    return [{"id": len(tokens) + i, "content": content} | flags for i, content in enumerate(contents)]


def parts(kind, list_name, part):
    return {"type": "Sequence", list_name: [part] * (N if kind == "many" else 200)}


replace = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
fuse = {"type": "Fuse"}
split = {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Isolated", "invert": False}
for name, text in {
        "vocabulary": tokenizer_json(tokens, chain, **simple),
        "merges": tokenizer_json(tokens, ["a a"] * N, **simple),
        "added": tokenizer_json(tokens, chain, added_tokens=added(f"<{name}>" for name in names), **simple),
        "added-prefixes": tokenizer_json(tokens, chain, added_tokens=added("a" * i for i in range(200, 1200)), **simple),
        "added-strips": tokenizer_json(tokens, chain, added_tokens=[
            added(["1"], lstrip=True, rstrip=True)[0] | {"id": tokens.index("1")}], **simple),
        "added-normalized": tokenizer_json(tokens, chain, normalizer={"type": "NFC"}, added_tokens=added(
            (f"<{name}>" for name in names), normalized=True), **simple),
        "normalizers": tokenizer_json(tokens, chain, normalizer=parts("many", "normalizers", {"type": "NFC"}), **simple),
        "replaces": tokenizer_json(tokens, chain, normalizer=parts("few", "normalizers", replace), **simple),
        "splits": tokenizer_json(tokens, chain, decoder=fuse, pre_tokenizer=parts("many", "pretokenizers", split)),
        "long-pattern": tokenizer_json(tokens, chain, decoder=fuse, pre_tokenizer=split | {
            "pattern": {"Regex": "a|" * N + "b"}}),
        "backtracking": tokenizer_json(tokens, chain, decoder=fuse, pre_tokenizer=split | {
            "pattern": {"Regex": "(a|a)*(a+)+b"}}),
        "look-behind": tokenizer_json(tokens, chain, decoder=fuse, pre_tokenizer=split | {
            "pattern": {"Regex": "(?<=a{1,1000})b|a(?=.*b)"}}),
        "decoders": tokenizer_json(tokens, chain, decoder=parts("many", "decoders", fuse)),
        "processors": tokenizer_json(tokens, chain, decoder=fuse, post_processor=parts("few", "processors", {
            "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": tokens[-1], "type_id": 0}}]})),
        "nested": "[" * N}.items():
    large("tokenizer_json", name, text)
configuration = json.dumps({"tokenizer_class": "GPT2Tokenizer", "eos_token": "<t1>", "added_tokens_decoder": {
    str(len(tokens) + i): {"content": f"<{name}>", "special": True} for i, name in enumerate(names)}})
end_tokens = json.dumps({"eos_token_id": list(range(len(tokens)))})
large("tokenizer_json", "configuration", "\0".join([tokenizer_json(tokens, chain, **simple), configuration,
                                                    '{"eos_token": "t1"}', end_tokens, end_tokens]))
vocabulary = json.dumps({token: i for i, token in enumerate(tokens)})
large("vocab_merges", "added", "\0".join([vocabulary, "#version\n" + "\n".join(chain) + "\n" * N, configuration, json.dumps(
    {f"<{name}>": len(tokens) + i for i, name in enumerate(names)})]))
large("vocab_merges", "spaces", "\0".join([vocabulary, "#version\n" + "n " * 20 * N + "n\n"]))

config = json.loads((pathlib.Path(__file__).resolve().parent.parent / "data/tiny_llama_gqa/config.json").read_text())
for name, more in {"end-tokens": {"eos_token_id": list(range(2 * N))}, "unknown-keys": {name: 1 for name in names},
                   "layer-types": {"layer_types": ["full_attention"] * N}, "long-text": {"hidden_act": "a" * 10 * N},
                   "layers": {"num_hidden_layers": 1000}}.items():
    large("config", name, json.dumps(config | more) + "\0" + end_tokens)

for name, text in {
        "texts": "a\n" * 50 * N, "outputs": "{{ 1 }}" * 2 * N, "statements": "{% set a = 1 %}" * 2 * N,
        "ifs": "{% if a %}{% endif %}" * N, "elifs": "{% if a %}" + "{% elif a %}" * 2 * N + "{% endif %}",
        "comments": "{#" * 10 * N, "open-comments": "{# #}" * 2 * N, "open-tags": "{%" * 10 * N, "raw": "{% raw %}" * N,
        "spaces": "\n" + " " * 20 * N + "{% set a = 1 %}", "string": "{{ '" + "\\n" * 10 * N + "' }}",
        "operators": "{{ 1" + " + 1" * 2 * N + " }}", "filters": "{{ 'a'" + "|trim" * 2 * N + " }}",
        "parentheses": "{{ " + "(" * N + "1" + ")" * N + " }}", "list": "{{ [" + "1, " * 2 * N + "1] }}",
        "dict": "{{ {" + ", ".join(f"'{name}': 1" for name in names) + "} }}", "not": "{{ " + "not " * N + "1 }}",
        "nested-ifs": "{% if a %}" * N + "{% endif %}" * N, "attributes": "{{ a" + ".b" * 2 * N + " }}",
        "concatenations": "{{ 'a'" + " ~ 'a'" * 2 * N + " }}", "names": "".join(f"{{% set {name} = 1 %}}" for name in names),
        "macros": "".join(f"{{% macro {name}() %}}{{% endmacro %}}" for name in names), "calls": "{{ a" + "()" * N + " }}",
        "growth": "{% set n = namespace(s='') %}{% for i in range(99999) %}{% set n.s = n.s ~ 'a' %}{% endfor %}",
        "lists": "{% set n = namespace(s=[]) %}{% for i in range(99999) %}{% set n.s = n.s + [i] %}{% endfor %}",
        "replace": "{{ ('a' * 99999)|replace('a', 'aa')|replace('a', 'aa') }}", "split": "{{ ('a ' * 99999).split() }}",
        "search": "{{ ('a' * 99999 ~ 'b') in ('a' * 999999) }}", "sort": "{{ range(99999)|sort(reverse=true) }}",
        "unique": "{{ range(99999)|list|unique|list }}", "indent": "{{ ('\n' * 99999)|indent }}",
        "json": "{{ messages|tojson(indent=99999) }}"}.items():
    large("jinja", name, text + "\0" + "a" * 10 * N)

for name, schema in {
        "properties": {"properties": {name: {"type": "null"} for name in names}, "additionalProperties": True},
        "required": {"required": names}, "enum": {"enum": names}, "items": {"maxItems": 10_000, "minItems": 9_999},
        "any-of": {"anyOf": [{"const": name} for name in names]}, "string": {"maxLength": 1_000_000, "minLength": 999_999},
        "nested-items": {"maxItems": 10_000, "items": {"maxItems": 10_000, "items": {"maxItems": 10_000}}},
        "definitions": {"$ref": "#/$defs/0", "$defs": {str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(N)}},
        "alternatives": {"anyOf": [{"$ref": "#/$defs/0"}] * 2, "$defs": {
            str(i): {"anyOf": [{"$ref": f"#/$defs/{i + 1}"}] * 2} for i in range(N)}}}.items():
    large("json_schema", name, json.dumps(schema) + "\0" + '{["a' * 100)

for name, body in {
        "stops": {"prompt": "a", "stop": ["a" * N] * 16}, "ids": {"prompt": [97] * 20 * N}, "texts": {"prompt": ["a"] * N},
        "bias": {"prompt": "a", "logit_bias": {str(i): 1 for i in range(4000)}}, "name": {"model": "m" * 20 * N},
        "float": {"prompt": "a", "seed": 1e308}, "properties": {"prompt": "a", "response_format": {
            "type": "json_schema", "json_schema": {"schema": {"properties": {name: {} for name in names[:4000]}}}}},
        "members": {name: 1 for name in names}}.items():
    large("request", name, b"\0" + json.dumps(body).encode())
large("request", "messages", b"\1" + json.dumps({"messages": [{"role": "user", "content": "a"}] * N}).encode())
large("request", "tokens", b"\3" + json.dumps({"tokens": [97] * 20 * N}).encode())
large("request", "nested", b"\0" + b"[" * 20 * N)

large("calibration", "lines", '{"text": "a"}\n' * 5 * N)
large("calibration", "empty-lines", "\n" * 100 * N)
large("calibration", "records", json.dumps([{"instruction": "a", "input": "b", "output": "c"}] * N))
large("calibration", "keys", json.dumps({"text": "a"} | {name: 1 for name in names}))
large("calibration", "long-line", json.dumps({"text": "\u00e9\n" * 10 * N}))
