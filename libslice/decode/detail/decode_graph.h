#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace slice {
class DecoderImpl;
class KvCache;
struct SamplingOptions;
}  // namespace slice

namespace slice::detail {

struct DecodeModel;

/// Decoding one token a sequence as a captured graph, of a batch in step (feed, continue_greedy,
/// continue_drawn) or of rows that are texts of their own (enter, continue_rows): nothing is
/// allocated and nobody waits between two tokens. Reads and writes the cache's memory; counting
/// positions stays with the caller.
class DecodePlan {
 public:
  virtual ~DecodePlan() = default;
  /// @param tokens  (B) int64, ids of the vocabulary, at `position`, which has room in the cache
  /// @return        logits (B, V) of the tokens that follow; valid until the next call
  virtual const at::Tensor& feed(const at::Tensor& tokens, int64_t position) = 0;
  /// Chooses the most likely token and feeds it, n times.
  /// @param logits    (B, V) in front of the first choice; the plan's own are left as they are
  /// @param position  of the first token
  /// @return          ids (B, n) int64 on the device, −1 where logits held a NaN
  virtual at::Tensor continue_greedy(const at::Tensor& logits, int64_t n, int64_t position) = 0;
  /// The same with tokens that are drawn, those of row b as sample_token draws them of sequence b.
  /// Other options need no other graph.
  virtual at::Tensor continue_drawn(const at::Tensor& logits, int64_t n, int64_t position,
                                    const SamplingOptions& sampling, uint64_t seed) = 0;
  /// Row b is a text of its own from here on, drawn as sequence 0 of `seed`.
  /// @param logits  (V) in front of its next token
  virtual void enter(int64_t b, const at::Tensor& logits, const SamplingOptions& sampling,
                     uint64_t seed) = 0;
  /// Draws and feeds n tokens of each of the first positions.size() rows, by a graph for as many.
  /// @param positions  of the first token of each; positions + n fit into the cache
  /// @return           ids (rows, n) int64 on the device, −1 where logits held a NaN
  virtual at::Tensor continue_rows(const std::vector<int32_t>& positions, int64_t n) = 0;
  /// Logits behind what was fed last, (B, V); the next call overwrites them.
  virtual const at::Tensor& logits() const = 0;
  /// What it decodes, for a prefill.h of its cache.
  virtual const DecodeModel& model() const = 0;
};

/// A plan for a decoder on a CUDA device; nullptr where there is none for it: on the CPU, in
/// float64, with heads of more than 256, with a map in front of a tied head. Lays the weights out
/// anew (decode_weights.h). The decoder and the cache must outlive it, and the weights must stay
/// what they are.
std::unique_ptr<DecodePlan> make_decode_plan(const DecoderImpl& decoder, const KvCache& cache);

}  // namespace slice::detail
