"""Writes what fuzzing begins with.     python3 make_seeds.py DIRECTORY

DIRECTORY/<target>/      small valid inputs, from tests/data or in its manner
DIRECTORY/<target>.dict  words of the format: the strings in the sources that read it

make_large.py writes the large ones.
"""

import gzip
import json
import lzma
import pathlib
import re
import struct
import sys

from formats import *

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DATA = HERE.parent / "data"
out = pathlib.Path(sys.argv[1])


def seed(target, name, content):
    directory = out / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def shortest(pattern, limit):
    return [path for path in sorted(DATA.glob(pattern)) if path.stat().st_size <= limit]


# --- safetensors: the smallest tensors of every file, moved together ---------------------------------------------

def shrunk_safetensors(path, most=2000):
    bytes_ = path.read_bytes()
    size = struct.unpack_from("<Q", bytes_)[0]
    header = json.loads(bytes_[8:8 + size])
    kept, data = {}, b""
    if "__metadata__" in header:
        kept["__metadata__"] = header.pop("__metadata__")
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"][1] - item[1]["data_offsets"][0]):
        begin, end = entry["data_offsets"]
        if kept and len(data) + end - begin > most:
            break
        kept[name] = entry | {"data_offsets": [len(data), len(data) + end - begin]}
        data += bytes_[8 + size + begin:8 + size + end]
    return safetensors(kept, data)


for path in shortest("*/model*.safetensors", 200_000) + shortest("*.safetensors", 200_000):
    seed("safetensors", f"{path.parent.name}-{path.name}", shrunk_safetensors(path))


# --- GGUF and llama2.c: tiny models of zeros ---------------------------------------------------------------------

def gguf_tokenizers():
    end = {"tokenizer.ggml.bos_token_id": (U32, 0), "tokenizer.ggml.eos_token_id": (U32, 0),
           "tokenizer.ggml.padding_token_id": (U32, 0), "tokenizer.chat_template": (STRING, "{{ bos_token }}")}
    tokens = ["<|endoftext|>"] + BYTE_CHARACTERS + ["aa", "\u0120a", "aaaa"]
    yield "gpt2", len(tokens), end | {
        "tokenizer.ggml.model": (STRING, "gpt2"), "tokenizer.ggml.pre": (STRING, "llama-bpe"),
        "tokenizer.ggml.tokens": (STRING, tokens), "tokenizer.ggml.token_type": (I32, [3] + [1] * (len(tokens) - 1)),
        "tokenizer.ggml.merges": (STRING, ["a a", "\u0120 a", "aa aa"])}
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581", "a", "aa", "\u2581a"]
    yield "llama", len(tokens), end | {
        "tokenizer.ggml.model": (STRING, "llama"), "tokenizer.ggml.tokens": (STRING, tokens),
        "tokenizer.ggml.scores": (F32, [-float(i) for i in range(len(tokens))]),
        "tokenizer.ggml.token_type": (I32, [2, 3, 3] + [6] * 256 + [1] * 4),
        "tokenizer.ggml.add_bos_token": (BOOL, True), "tokenizer.ggml.add_space_prefix": (BOOL, True),
        "tokenizer.ggml.unknown_token_id": (U32, 0)}


for kind, (values, _) in BLOCKS.items():
    seed("gguf", f"type-{kind}", gguf({"general.architecture": (STRING, "llama")}, {"x": (kind, [2, values])}))
seed("gguf", "llama", gguf(*gguf_model("llama")))
seed("gguf", "qwen2", gguf(*gguf_model("qwen2", bias=True)))
seed("gguf", "phi2", gguf(*gguf_phi2()))
for architecture in ("llama", "qwen3moe", "olmoe"):
    seed("gguf", f"experts-{architecture}", gguf(*gguf_mixture(architecture)))
seed("gguf", "experts-quantised", gguf(*gguf_mixture("llama", D=32, F=32, kind=8)))
seed("gguf", "apertus", gguf(*gguf_apertus()))
for name, vocabulary, pairs in gguf_tokenizers():
    model, tensors = gguf_model("llama", vocabulary=vocabulary, D=32, F=32, kind=8)
    seed("gguf", f"tokenizer-{name}", gguf(model | pairs, tensors))
    seed("gguf", f"tokenizer-{name}-alone", gguf(pairs | {"general.architecture": (STRING, "llama")}, {}))

for name, (D, F, layers, heads, kv_heads, V, T) in {"tied": (8, 12, 1, 2, 1, 5, 4), "untied": (4, 4, 2, 1, 1, -3, 2)}.items():
    kv = D // heads * kv_heads
    floats = abs(V) * D * (1 if V > 0 else 2) + layers * (2 * D + 2 * D * D + 2 * kv * D + 3 * D * F) + D + T * (D // heads)
    seed("llama2c", name, struct.pack("<7i", D, F, layers, heads, kv_heads, V, T) + bytes(4 * floats))
for name, tokens in {"plain": ["<unk>", "<s>", "</s>", " ", "a", "aa", " a"],
                     "bytes": ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + [" ", "a", "aa"]}.items():
    seed("llama2c_tokenizer", name, llama2c_tokenizer(tokens))


# --- tokenizers --------------------------------------------------------------------------------------------------

CONFIG = json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": {"content": "<s>"},
                     "add_bos_token": True, "chat_template": [{"name": "default", "template": "{{ bos_token }}"}]})
SPLIT = {"type": "Split", "pattern": {"Regex": "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"},
         "behavior": "Isolated", "invert": False}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
byte_tokens = BYTE_CHARACTERS + ["aa", "\u0120a"]
pieces = ["<unk>", "\u2581", "a", "aa", "\u2581a", "1"] + [f"<0x{byte:02X}>" for byte in range(256)]
for name, text in {
        "byte-level": tokenizer_json(byte_tokens, ["a a", "\u0120 a"], pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL),
        "split": tokenizer_json(
            byte_tokens, [["a", "a"], ["\u0120", "a"]], normalizer={"type": "NFC"}, decoder=BYTE_LEVEL,
            pre_tokenizer={"type": "Sequence", "pretokenizers": [
                SPLIT, {"type": "Digits", "individual_digits": True}, BYTE_LEVEL | {"use_regex": False}]},
            post_processor={"type": "Sequence", "processors": [BYTE_LEVEL, {
                "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                         {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [len(byte_tokens)], "tokens": ["<s>"]}}}]},
            model={"ignore_merges": True}),
        "pieces": tokenizer_json(
            pieces, ["a a", "\u2581 a"], model={"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"},
            normalizer={"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
            decoder={"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
                {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}),
        "metaspace": tokenizer_json(
            pieces[:6], ["a a", "\u2581 a"], model={"unk_token": "<unk>"},
            pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True},
            decoder={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"}),
        "unigram": tokenizer_json([], [], model={
            "type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["\u2581", -2.0], ["a", -3.0], ["\u2581a", -3.5]]}),
        "word-piece": tokenizer_json(["[UNK]", "a", "##a"], [], model={
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"},
            normalizer={"type": "BertNormalizer", "clean_text": True, "lowercase": True},
            pre_tokenizer={"type": "BertPreTokenizer"}, decoder={"type": "WordPiece", "prefix": "##"})}.items():
    seed("tokenizer_json", name, text)
    seed("tokenizer_json", name + "-configured", text + "\0" + CONFIG + "\0" + CONFIG)
for path in sorted(DATA.glob("*/tokenizer.json")):
    seed("tokenizer_json", path.parent.name, path.read_bytes())

vocabulary = json.dumps({token: i for i, token in enumerate(byte_tokens)}, ensure_ascii=False)
for name in ("GPT2Tokenizer", "CodeGenTokenizer", "Qwen2Tokenizer"):
    files = [vocabulary, "#version: 0.2\na a\n\u0120 a\n", json.dumps({
        "tokenizer_class": name, "eos_token": "<s>", "added_tokens_decoder": {"258": {"content": "<s>", "special": True}}}),
        '{"<s>": 258}', '{"eos_token": "<s>"}']
    seed("vocab_merges", name, "\0".join(files))
seed("vocab_merges", "tiny", (DATA / "tiny_tokenizers/vocab.json").read_bytes() + b"\0"
     + (DATA / "tiny_tokenizers/merges.txt").read_bytes())


for path in sorted(DATA.glob("tiny_tokenizers/*.model")):
    seed("sentencepiece", path.stem, path.read_bytes())
letters = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("\u2581a", -1.0, 1), ("aa", -2.0, 1), ("==", 0.0, 4)]
singles = [("\u2581", -3.0, 1), ("a", -4.0, 1), ("1", -5.0, 1)]
seed("sentencepiece", "letters", sentencepiece(letters + singles))
seed("sentencepiece", "letters-bytes", sentencepiece(
    letters[:3] + [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)] + letters[3:] + singles))


# --- texts -------------------------------------------------------------------------------------------------------

for path in sorted(DATA.glob("*/config.json")):
    generation = path.with_name("generation_config.json")
    seed("config", path.parent.name, path.read_bytes() + b"\0" + (generation.read_bytes() if generation.exists() else b""))

chats = json.loads((DATA / "chat_templates.json").read_text())
for name, template in chats["styles"].items():
    seed("jinja", f"style-{name}", template + "\0Hello there")
for i, snippet in enumerate(chats["snippets"]):
    seed("jinja", f"snippet-{i}", snippet["template"])

for name, schema in {
        "object": {"type": "object", "properties": {"a": {"type": "string", "minLength": 1, "maxLength": 3}, "b": {
            "enum": ["x", 1, None]}}, "required": ["a"], "additionalProperties": {"type": "integer"}},
        "array": {"type": "array", "items": {"anyOf": [{"type": "number"}, {"const": {"k": [1]}}]}, "minItems": 1,
                  "maxItems": 4}, "any": {}, "types": {"type": ["null", "boolean"]},
        "recursive": {"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}}}}}}.items():
    for text in ('{"a": "\u00e9\\n", "b": 1}', '[1.5e3, {"k":[1]}]', "null", '{"next": {"next": {}}}'):
        seed("json_schema", name + text[:4].strip('{["'), json.dumps(schema) + "\0" + text)

COMPLETION = {"model": "m", "prompt": "a", "max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "top_k": 2, "min_p": 0.1,
              "seed": 1, "n": 2, "stop": ["b", "\u00e9"], "stop_token_ids": [256], "ignore_eos": False, "echo": True,
              "logit_bias": {"97": -1.5}, "presence_penalty": 1, "frequency_penalty": 1, "repetition_penalty": 1.5,
              "priority": 1, "logprobs": 2, "stream": True, "stream_options": {"include_usage": True}}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": {"a": {"type": "string"}}}}}
CHAT = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "t"}]},
                     {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}],
        "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto", "logprobs": True,
        "top_logprobs": 2, "max_completion_tokens": 4, "chat_template_kwargs": {"x": 1}, "add_generation_prompt": True}
for name, path, body in (("all", 0, COMPLETION), ("whole", 0, COMPLETION | {"stream": False, "stream_options": None}),
                         ("ids", 0, {"prompt": [[97, 256], "b"]}), ("scores", 0, {"prompt": [97, 98], "max_tokens": 0,
                                                                                  "echo": True, "logprobs": 0}),
                         ("json", 0, {"prompt": "a", "response_format": {"type": "json_object"}}),
                         ("schema", 0, {"prompt": "a", "response_format": FORM}), ("chat", 1, CHAT),
                         ("chat-json", 1, CHAT | {"response_format": FORM, "stream": True}),
                         ("text", 2, {"prompt": "a", "return_token_strs": True, "add_special_tokens": False}),
                         ("content", 2, {"content": "a", "add_special": True}), ("messages", 2, CHAT),
                         ("tokens", 3, {"tokens": [97, 256]})):
    seed("request", name, bytes([path]) + json.dumps(body).encode())

for name, text in {"jsonl": '{"text": "one"}\r\n\n{"id": 2, "text": "t\\nwo"}\n', "text": "One line.\n\nTwo \u00e9.\n",
                   "alpaca": json.dumps([{"instruction": "Add.", "input": "1, 2", "output": "3"},
                                         {"instruction": "Say.", "output": "\u00e9"}])}.items():
    seed("calibration", name, text)
    for packed in (gzip.compress(text.encode(), mtime=0), lzma.compress(text.encode())):
        seed("calibration", name + packed[:2].hex(), packed)

MESSAGES = json.dumps(CHAT["messages"])
for name, parts in {"all": (MESSAGES, json.dumps(CHAT["tools"]), '{"enable_thinking": true, "custom": [1, {"a": null}]}'),
                    "messages": (MESSAGES,), "template": (MESSAGES, "", "", "{{ messages[0].content }}{{ tools }}")}.items():
    seed("template_arguments", name, "\0".join(parts))

TASKS = ("piqa", "winogrande", "hellaswag", "arc_easy", "arc_challenge", "lambada_openai", "boolq", "openbookqa", "copa")
RECORDS = {
    "piqa": {"goal": "g", "sol1": "a", "sol2": "b", "label": 0}, "winogrande": {
        "sentence": "a _ b", "option1": "x", "option2": "y", "answer": "1"},
    "hellaswag": {"activity_label": "A", "ctx_a": "a", "ctx_b": "b", "endings": ["1", "2", "3", "4"], "label": "2"},
    "arc_easy": {"question": {"stem": "q", "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]}, "answerKey": "A"},
    "arc_challenge": {"question": "q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"},
    "lambada_openai": {"text": "a b c"}, "boolq": {"passage": "p", "question": "q", "answer": True}, "openbookqa": {
        "question_stem": "q", "choices": {"text": ["a", "b", "c", "d"], "label": ["A", "B", "C", "D"]}, "answerKey": "D"},
    "copa": {"premise": "p.", "choice1": "a", "choice2": "b", "question": "cause", "label": 1}}
for number, name in enumerate(TASKS):
    seed("tasks", name, bytes([number]) + (json.dumps(RECORDS[name]) + "\n").encode() * 2)
seed("tasks", "hellaswag-lines", bytes([128 + next(n for n in range(128) if (128 + n) % 9 == 2)]) + b"c\n1\na\nb\nc\nd\n")


def floats(*values):
    return struct.pack(f"<{len(values)}d", *values)


def journal(kind, tensors):
    """A file of a journal; its last tensor is the place of the hash."""
    header, data = {}, b""
    for name, dtype, shape, bytes_ in [*tensors, ("sha256", "U8", [64], bytes(64))]:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    return bytes([kind]) + safetensors(header, data)


SITE = [("site.0.numbers", "F64", [4], floats(0.5, 0.1, 8, float("nan"))), ("site.0.basis", "F64", [3, 2], floats(*range(6))),
        ("layer.0.sha256", "U8", [64], b"0" * 64)]
seed("resume_journal", "run", b"\0" + b'{"plan": "small"}')
seed("resume_journal", "gradients", journal(1, [(f"site.{site}.gamma", "F64", [3, 3], floats(*range(9))) for site in range(2)]))
seed("resume_journal", "plan", journal(2, [("candidates", "I64", [1, 13], struct.pack("<13q", *range(13))),
                                           ("losses", "F64", [1], floats(2.5))]))
seed("resume_journal", "layer", journal(3, SITE))
seed("resume_journal", "signal", journal(5, [("signal", "F32", [2, 4, 3], bytes(96)), ("signal.chunk_tokens", "I64", [1], struct.pack(
    "<q", 8)), ("numbers", "F64", [2], floats(1, 2)), *SITE]))

seed("slice_report", "files", json.dumps({"model": {"sha256": "00"}, "files": {"a": "e3b0c44298fc1c149afbf4c8996fb924"
                                                                              "27ae41e4649b934ca495991b7852b855"}}))
seed("slice_report", "outside", json.dumps({"files": {"../a": "00", "config.json": "00"}}))


# --- dictionaries ------------------------------------------------------------------------------------------------

TEXT = ["text/sources/*.cpp", "text/detail/*.cpp"]
for target, patterns in {"calibration": ["text/text_file.cpp", "text/detail/text_record.cpp"], "config": ["model/config.cpp", "model/families/*.cpp"],
                         "gguf": ["model/families/gguf_*.cpp", "model/families/llama.cpp",
                                  "text/sources/tokenizer_gguf.cpp"],
                         "jinja": ["text/jinja/*.cpp"], "json_schema": ["text/detail/json_schema.cpp"],
                         "request": ["../examples/serve/*.cpp", "text/detail/json_schema.cpp"], "safetensors": ["format/safetensors.cpp"],
                         "tasks": ["evaluate/detail/task_records.cpp"], "template_arguments": ["text/jinja/*.cpp", "text/chat.cpp"],
                         "slice_report": ["slicing/written_files.cpp"],
                         "tokenizer_json": TEXT, "vocab_merges": TEXT}.items():
    words = {word for pattern in patterns for path in sorted((ROOT / "libslice").glob(pattern))
             for word in re.findall(r'"([A-Za-z0-9_.%{}<>|#=+*/-]{2,40})"', path.read_text()) if "/" not in word}
    if target == "safetensors":
        words |= {"F64", "F32", "F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL"}
    if not words:
        sys.exit(f"{target}: no words in {patterns}; libFuzzer takes no empty dictionary")
    (out / f"{target}.dict").write_text("".join(f'"{word}"\n' for word in sorted(words)))
