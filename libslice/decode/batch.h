#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "libslice/decode/generator.h"

namespace slice {

/// Why a text of a Batch has no further token.
enum class Ending {
  kNone,       ///< it continues
  kStop,       ///< a stop token came, which is not part of it
  kMaxTokens,  ///< it has max_tokens
  kFull,       ///< its slot is full, or the model has no further position
  kBroken      ///< its logits held a NaN, by modules an Inf too
};

/// What a step added to one text.
struct BatchOutput {
  int64_t id = 0;
  std::vector<int64_t> tokens;
  Ending ending = Ending::kNone;
};

/// Continuous batching: texts that come and go at any time decode together, each at a length of its
/// own. A text has a slot of the KV cache from `add` to its end.
///
/// A text is that of generate() with the same options, whatever runs beside it: to the bit on the
/// CPU, which runs one text after the other; on a GPU as far as sums agree. There a step is one
/// captured graph of the slots up to the last one in use, rounded up to a power of two; up to 8
/// rows have the same bits in any number, more run on cuBLAS, whose sums may differ in a rounding,
/// as may those of attention where a text has more than 256 positions and those of a prompt of one
/// token.
///
/// On a GPU the model is laid out anew as by a Generator. Members are to be called by one thread at
/// a time.
class Batch {
 public:
  /// Takes all memory: 2 · L · slots · kv_heads · capacity · d elements of KV cache.
  /// @param capacity  positions of a slot, prompt included
  /// @throws ArgumentError  slots or capacity < 1
  Batch(const Model& model, int64_t slots, int64_t capacity);
  ~Batch();
  Batch(Batch&&) noexcept;

  /// Starts a text in the lowest free slot and runs its prompt there.
  /// @return  its id, counted from 0; nothing where all slots are taken
  /// @throws ArgumentError  an empty prompt, or one that leaves no room for a token; ids outside
  ///                        the vocabulary; max_tokens < 1; bad sampling options. No text was
  ///                        started.
  std::optional<int64_t> add(const std::vector<int64_t>& prompt,
                             const GenerateOptions& options = {});
  /// Gives every running text n further tokens, fewer where it ends. On a GPU the host waits once,
  /// and once more for every text whose length ends it within the n.
  /// After an error the texts are where they were, or as far as the step that returns says, and may
  /// continue; where a device fails for good, every later step fails.
  /// @return  a text each, in the order of slots; an ended one has left its slot
  /// @throws ArgumentError  n < 0
  std::vector<BatchOutput> step(int64_t n = 1);
  /// Logits (V) of the next token of a text, on the model's device. They may be read, and changed in
  /// place: the next step samples its first token from what is there then, its further ones from
  /// what the model says. For probabilities, a bias, penalties, a grammar. A token that must not
  /// come gets the lowest finite number of the type: an Inf ends a text as broken. Valid until the
  /// next member is called. @throws ArgumentError  no such text runs
  at::Tensor logits(int64_t id);
  /// Ends a text before its time. @throws ArgumentError  no such text runs
  void remove(int64_t id);

  int64_t running() const;
  int64_t slots() const { return static_cast<int64_t>(texts_.size()); }

 private:
  struct Text;

  /// The slot of a running text. @throws ArgumentError  no such text runs
  int64_t slot_of(int64_t id) const;
  int64_t room(const Text& text) const;
  bool advance(int64_t n, std::vector<std::optional<BatchOutput>>& outputs);
  bool take(Text& text, const std::vector<int64_t>& ids, BatchOutput& output) const;

  std::shared_ptr<const Model> model_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<detail::Decoding> decoding_;  // of the cache
  std::vector<std::unique_ptr<Text>> texts_;    // a slot each, nullptr where it is free
  int64_t next_id_ = 0;
  std::unique_ptr<detail::LastStream> stream_;  // last: it goes first
};

}  // namespace slice
