"""Writes tiny_tokenizers/: vocabularies of some hundred tokens, learned from torture.txt.

Usage: python make_tiny_tokenizers.py        (sentencepiece, tokenizers)

vocab.json, merges.txt: byte-level BPE. bytes.model: SentencePiece in LLaMA's manner, bytes for unknown characters,
with symbols of its own that text may spell. spaces.model: SentencePiece that squeezes spaces, puts none in front and
knows no bytes.
"""

import pathlib

import sentencepiece
from tokenizers import ByteLevelBPETokenizer

HERE = pathlib.Path(__file__).parent
OUT = HERE / "tiny_tokenizers"
OUT.mkdir(exist_ok=True)
text = (HERE / "torture.txt").read_bytes().decode()

byte_level = ByteLevelBPETokenizer()
byte_level.train_from_iterator([text], vocab_size=700, min_frequency=2, special_tokens=["<|endoftext|>"])
byte_level.save_model(str(OUT))

common = dict(model_type="bpe", normalization_rule_name="identity", num_threads=1, max_sentence_length=20000)
with (OUT / "bytes.model").open("wb") as file:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.split("\n")), model_writer=file, vocab_size=1100, byte_fallback=True,
        character_coverage=0.98, remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        user_defined_symbols=["<mask>", "==", "===="], **common)
with (OUT / "spaces.model").open("wb") as file:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.split("\n")), model_writer=file, vocab_size=900, character_coverage=0.98,
        add_dummy_prefix=False, pad_id=3, **common)
