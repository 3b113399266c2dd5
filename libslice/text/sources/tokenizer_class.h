#pragma once

#include <string>

#include "libslice/text/bpe.h"
#include "libslice/text/sources/tokenizer_texts.h"

namespace slice::detail {

/// The tokenizer class that Transformers' AutoTokenizer picks for a directory, without "Fast":
/// tokenizer_config.json's `tokenizer_class`, else config.json's; a qwen2 is always read by
/// Qwen2Tokenizer, a mistral never by LlamaTokenizer. Empty where none is named.
///   (Transformers 5, tokenization_auto.py)
std::string tokenizer_class(const TokenizerTexts& texts);

/// LlamaTokenizer, Qwen2Tokenizer and GPT2Tokenizer take tokens and merges from tokenizer.json and
/// bring normalizer, pre-tokenizer and decoder with them, whatever the file says; of
/// tokenizer_config.json `legacy` and `add_prefix_space` count. This does so for a definition read
/// from tokenizer.json. A LlamaTokenizer whose file is byte-level stays as it is.
void use_tokenizer_class(const TokenizerTexts& texts, BpeDefinition& definition);

/// The words of LlamaTokenizer: "▁" for spaces and before the text, unless one is there.
void use_llama_words(const TokenizerTexts& texts, BpeDefinition& definition);

}  // namespace slice::detail
