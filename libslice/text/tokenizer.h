#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace slice {

/// Text to token ids and back. Immutable and safe to share between threads.
class Tokenizer {
 public:
  /// A file of the tokenizer in Hugging Face's layout of a model directory.
  struct File {
    std::string name, bytes;
  };

  virtual ~Tokenizer() = default;

  /// @param text  UTF-8. Special tokens written out in it (`<|im_start|>`) are recognised only
  ///              with `special`.
  /// @return      ids, without a beginning-of-sequence token: see bos_token(), adds_bos()
  /// @throws FormatError  not UTF-8 (gives the byte offset), or a regular expression of the model
  ///                      takes too much time or memory on this text (gives the pattern)
  virtual std::vector<int64_t> encode(std::string_view text, bool special = false) const = 0;
  /// Ids back to bytes; for any text without special tokens, the text that was encoded. Ids that
  /// end within a multi-byte character give its first bytes. Special tokens are left out unless
  /// `special`; ids without a token have no text. @throws ArgumentError  an id below 0
  virtual std::string decode(std::span<const int64_t> ids, bool special = false) const = 0;
  virtual int64_t vocabulary_size() const = 0;
  virtual std::optional<int64_t> bos_token() const = 0;
  virtual std::vector<int64_t> eos_tokens() const = 0;
  /// True where the model expects one bos_token() before a text (LLaMA), false for SmolLM2 and OPT.
  virtual bool adds_bos() const = 0;
  /// The Jinja template that turns a conversation into one text; empty when the model has none.
  /// See render_chat().
  virtual std::string chat_template() const = 0;
  /// tokenizer.json, tokenizer.model, tokenizer_config.json, … to be written next to a saved model
  /// (copied from the source where it had them, with the chat template).
  virtual std::vector<File> files() const = 0;
};

/// The tokenizer of the model at a path:
///   Hugging Face directory   tokenizer.json (BPE), else tokenizer.model (SentencePiece of type
///                            BPE, identity normalisation), else vocab.json + merges.txt (GPT-2,
///                            OPT); tokenizer_config.json and similar files name the special tokens
///   GGUF                     its metadata: `gpt2` with any of llama.cpp's byte-level
///                            pre-tokenizers; or `llama`
///   llama2.c `.bin`          `tokenizer.bin` next to it, else the one `*.bin` there that parses as
///                            a tokenizer with the model's vocabulary size
///
/// @throws FormatError  none found, malformed, or of a kind that is not supported (names it)
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& model);

}  // namespace slice
