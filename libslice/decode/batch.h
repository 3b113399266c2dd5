#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "libslice/decode/generator.h"

namespace slice {

class DividedModel;
struct UserDecoder;
namespace detail {
class PrefixStore;
class RowDecoding;
struct DecodingRow;
struct PromptPiece;
}  // namespace detail

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
  int64_t stop_token = -1;  ///< the one that came, with kStop
};

struct BatchOptions {
  /// Device memory for keys and values of texts that ended. A prompt that begins as one of them, or
  /// as a text that runs, has that part copied instead of computed, from 16 tokens on; sums of what
  /// follows may then differ in roundings. 0: none is kept, and such prompts are computed whole.
  int64_t prefix_bytes = 0;
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
/// A prompt goes in at once (`add`), or in pieces between steps of other texts (`begin`, `feed`).
/// Pieces have their products and attention in other sizes, so that sums may differ in roundings
/// from those of the whole. A prompt that another text has, which was fed and had no step yet, is a
/// copy of it, to the bit.
///
/// On a GPU the model is laid out anew as by a Generator. Members are to be called by one thread at
/// a time.
class Batch {
 public:
  /// Takes all memory but that of prefixes: 2 · L · slots · kv_heads · capacity · d elements of KV
  /// cache.
  /// @param capacity  positions of a slot, prompt included
  /// @throws ArgumentError  slots or capacity < 1, prefix_bytes < 0
  Batch(const Model& model, int64_t slots, int64_t capacity, const BatchOptions& options = {});
  /// The same over several GPUs, which keep no prefixes and copy no prompts. After an error of one of
  /// them in step() the texts that are there cannot continue; further ones can.
  /// @throws ArgumentError  slots or capacity < 1
  Batch(const DividedModel& model, int64_t slots, int64_t capacity);
  /// The same of a user-defined decoder, which runs by its modules, without a cache.
  /// @throws ArgumentError  slots, capacity or positions of the decoder < 1
  Batch(const UserDecoder& decoder, int64_t slots, int64_t capacity);
  ~Batch();
  Batch(Batch&&) noexcept;

  /// Starts a text in the lowest free slot and runs its prompt there.
  /// @return  its id, counted from 0; nothing where all slots are taken
  /// @throws ArgumentError  an empty prompt, or one that leaves no room for a token; ids outside
  ///                        the vocabulary; max_tokens < 1; bad sampling options. No text was
  ///                        started.
  std::optional<int64_t> add(const std::vector<int64_t>& prompt,
                             const GenerateOptions& options = {});
  /// The same without its prompt, which feed() runs. Throws as add does.
  std::optional<int64_t> begin(const std::vector<int64_t>& prompt,
                               const GenerateOptions& options = {});
  /// Runs at most so many further tokens of the prompt of a text that began; those that are copied
  /// do not count. After an error they may be fed again.
  /// @param most  0 runs nothing, and copies what can be copied whole; a prompt of a model whose
  ///              rotary angles depend on its length (longrope, dynamic) goes in at once
  /// @param see   unless empty: sees logits (t, V), on the model's device, of the tokens that follow
  ///              t tokens of the prompt, in order; nothing is copied then
  /// @return      tokens of the prompt that are left; with 0 the text takes part in steps
  /// @throws ArgumentError  no such text waits for its prompt, most < 0
  int64_t feed(int64_t id, int64_t most,
               const std::function<void(const at::Tensor& logits)>& see = {});
  /// Runs at most so many further tokens of the prompts of several texts, in the order that is given;
  /// on a GPU in few passes over the weights, each over the prompts of many, so that a row's last
  /// bits depend on what is fed with it. What one has in common with another is run once.
  /// @return  tokens of each prompt that are left; where an error came once some prompts were in,
  ///          others may be left over, and the next call meets the error again
  /// @throws ArgumentError  a text is named twice or does not wait for its prompt, most < 0; nothing
  ///                        was run then. After another error all may be fed again.
  std::vector<int64_t> feed(const std::vector<int64_t>& ids, int64_t most);
  /// Gives every text whose prompt is in n further tokens, fewer where it ends. On a GPU the host
  /// waits once, and once more for every text whose length ends it within the n.
  /// After an error the texts are where they were, or as far as the step that returns says, and may
  /// continue; where a device fails for good, every later step fails.
  /// @return  a text each, in the order of slots; an ended one has left its slot
  /// @throws ArgumentError  n < 0
  std::vector<BatchOutput> step(int64_t n = 1);
  /// Logits (V) of the next token of a text, on the model's device. They may be read, and changed in
  /// place: the next step samples its first token from what is there then, its further ones from
  /// what the model says. For probabilities, a bias, penalties, a grammar. A token that must not
  /// come gets the lowest finite number of the type: an Inf ends a text as broken. Valid until the
  /// next member is called. @throws ArgumentError  no such text with its prompt
  at::Tensor logits(int64_t id);
  /// Ends a text before its time. @throws ArgumentError  no such text runs
  void remove(int64_t id);

  /// Texts that have a slot.
  int64_t running() const;
  int64_t slots() const { return static_cast<int64_t>(texts_.size()); }
  /// Positions of the slots that texts have.
  int64_t cached_positions() const;
  /// Tokens of a text's prompt that were copied. @throws ArgumentError  no such text runs
  int64_t reused(int64_t id) const;
  /// Tokens of prompts that were run so far.
  int64_t fed() const { return fed_; }
  /// Device memory that keys and values of texts that ended take.
  int64_t prefix_bytes() const;

 private:
  struct Text;
  /// What a prompt has in common with a text that has a slot, or with one that ended (slot −1).
  struct Alike {
    int64_t length, slot;
  };

  /// The slot of a running text. @throws ArgumentError  no such text runs
  int64_t slot_of(int64_t id) const;
  int64_t positions() const;
  int64_t room(const Text& text) const;
  detail::DecodingRow decoding_row(int64_t slot) const;
  Alike longest_alike(int64_t slot) const;
  void reuse(int64_t slot);
  bool waits_for(const Text& other, int64_t slot) const;
  bool feed_pass(const std::vector<int64_t>& waiting, int64_t& left);
  std::vector<detail::PromptPiece> next_pass(const std::vector<int64_t>& waiting, int64_t most);
  bool copy_whole(int64_t slot);
  void end(int64_t slot, bool keep);
  bool advance(int64_t n, std::vector<std::optional<BatchOutput>>& outputs);
  bool take(Text& text, const std::vector<int64_t>& ids, BatchOutput& output) const;

  std::shared_ptr<const void> model_;  // a Model, a DividedModel or a UserDecoder
  int64_t capacity_;
  bool whole_prompts_;                             // in one piece each
  std::unique_ptr<KvCache> cache_;                 // of a Model alone
  std::unique_ptr<detail::RowDecoding> decoding_;  // of the cache
  std::vector<std::unique_ptr<Text>> texts_;       // a slot each, nullptr where it is free
  std::unique_ptr<detail::PrefixStore> prefixes_;
  int64_t next_id_ = 0, fed_ = 0;
  std::unique_ptr<detail::LastStream> stream_;  // last: it goes first
};

}  // namespace slice
