"""Writes token_goldens.json: how many ids, and which, the reference tokenizers make of two texts and of none.

Usage: python make_token_goldens.py SHARED_DATA SMOLLM2.gguf        (gguf, sentencepiece, tokenizers)

For each tokenizer and text: the count of ids, the SHA-256 of them as little-endian int64, and whether the reference
decodes them to the text. `special` counts special tokens that the text spells; a tokenizer without it has none.
"gpt2/PRE" is GPT-2's vocabulary with the words of a pre-tokenizer, as a GGUF file may hold them; "tiny/…" are those of
tiny_tokenizers/.
"""

import hashlib
import json
import lzma
import pathlib
import struct
import sys

import sentencepiece
from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

SHARED, SMOLLM2 = pathlib.Path(sys.argv[1]), sys.argv[2]
HERE = pathlib.Path(__file__).parent
TINY = HERE / "tiny_tokenizers"

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DIGITS = [pre_tokenizers.Digits(individual_digits=True)]
DEFAULT = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]


def unpacked(name):
    return lzma.open(SHARED / name).read().decode()


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(vocabulary, merges, stages=(), special=(), gpt2_words=False, **options):
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(m.split(" ")) for m in merges], **options))
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=gpt2_words)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*stages, words])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def smollm2():
    fields = GGUFReader(SMOLLM2).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    special = [t for t, kind in zip(tokens, fields["tokenizer.ggml.token_type"].contents()) if kind == 3]
    merges = fields["tokenizer.ggml.merges"].contents()
    return byte_level({t: i for i, t in enumerate(tokens)}, merges, DIGITS, special, gpt2_words=True)


def published(name):
    return Tokenizer.from_str(unpacked(name))


def llama2():
    """Three of its merges join spaces, which the normalizer leaves none of; `tokenizers` cannot read them."""
    definition = json.loads(unpacked("tokenizers/llama2/tokenizer.json.xz"))
    model = definition["model"]
    model["merges"] = [merge for merge in model["merges"] if merge.count(" ") == 1]
    return Tokenizer.from_str(json.dumps(definition))


class SentencePiece:
    def __init__(self, path):
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def __call__(self, text, special):
        ids = self.model.encode(text)
        return ids, self.model.decode(ids)


class HuggingFace:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, text, special):
        self.tokenizer.encode_special_tokens = not special
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids, self.tokenizer.decode(ids, skip_special_tokens=False)


def with_words(name, vocabulary, merges):
    """A byte-level vocabulary with the words of each pre-tokenizer."""
    qwen2 = byte_level(vocabulary, merges, [split(QWEN2)])
    qwen2.normalizer = normalizers.NFC()
    return {
        f"{name}/gpt-2": HuggingFace(byte_level(vocabulary, merges, gpt2_words=True)),
        f"{name}/smollm": HuggingFace(byte_level(vocabulary, merges, DIGITS, gpt2_words=True)),
        f"{name}/llama-bpe": HuggingFace(byte_level(vocabulary, merges, [split(LLAMA3)], ignore_merges=True)),
        f"{name}/qwen2": HuggingFace(qwen2),
        f"{name}/default": HuggingFace(byte_level(vocabulary, merges, [split(pattern) for pattern in DEFAULT])),
    }


gpt2, opt = (json.loads(unpacked(f"tokenizers/{name}/vocab.json.xz")) for name in ("gpt2", "opt"))
merges = unpacked("tokenizers/opt/merges.txt.xz").split("\n")[1:-1]
tiny = json.loads((TINY / "vocab.json").read_text())
tiny_merges = (TINY / "merges.txt").read_text().split("\n")[1:-1]
tokenizers = {
    "llama2": SentencePiece(SHARED / "tokenizers/llama2/tokenizer.model"),
    "llama2/json": HuggingFace(llama2()),
    "tok105": SentencePiece(SHARED / "models/babyllama-tok105/tok105.model"),
    "gpt2": HuggingFace(byte_level(gpt2, merges, special=["<|endoftext|>"], gpt2_words=True)),
    "opt": HuggingFace(byte_level(opt, merges, special=["</s>", "<pad>"], gpt2_words=True)),
    "phi-2": HuggingFace(published("tokenizers/phi-2/tokenizer.json.xz")),
    "neox": HuggingFace(published("tokenizers/neox/20B_tokenizer.json.xz")),
    "smollm2": HuggingFace(smollm2()),
    **with_words("gpt2", gpt2, merges),
    "tiny/bytes": SentencePiece(TINY / "bytes.model"),
    "tiny/spaces": SentencePiece(TINY / "spaces.model"),
    **with_words("tiny", tiny, tiny_merges),
}
texts = {
    "wikitext-2": unpacked("wikitext-2/wiki.test.tokens.xz"),
    "torture": (HERE / "torture.txt").read_bytes().decode(),
    "nothing": "",
}
goldens = {}
for name, tokenize in tokenizers.items():
    goldens[name] = {}
    for title, text in texts.items():
        if name.startswith("tiny/") and title == "wikitext-2":
            continue  # they know little else
        for special in (False, True):
            ids, decoded = tokenize(text, special)
            digest = hashlib.sha256(struct.pack(f"<{len(ids)}q", *ids)).hexdigest()
            golden = {"count": len(ids), "sha256": digest, "round_trip": decoded == text}
            if not special:
                plain = goldens[name][title] = golden
            elif golden != plain:
                goldens[name][title + ", special"] = golden
(HERE / "token_goldens.json").write_text(json.dumps(goldens, indent=1) + "\n")
