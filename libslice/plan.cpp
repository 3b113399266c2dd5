#include "libslice/plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "libslice/detail/check.h"

namespace slice {

int64_t kept_size(int64_t D, double slice, int64_t round) {
  SLICE_CHECK(slice >= 0.0 && slice < 1.0, "slice: want a fraction in [0, 1), got {}", slice);
  SLICE_CHECK(round >= 1, "round: want at least 1, got {}", round);
  if (slice == 0.0) return D;
  // The small term keeps (1 − 0.2)·D, which binary fractions miss by an ulp, from falling below its
  // whole number.
  const int64_t k =
      static_cast<int64_t>(std::floor((1.0 - slice) * static_cast<double>(D) + 1e-9)) / round *
      round;
  SLICE_CHECK(k > 0, "slice {} of a hidden size of {} in multiples of {} leaves nothing", slice, D,
              round);
  return k;
}

std::vector<int64_t> plan_stream_sizes(int64_t D, int64_t sites, const SliceOptions& options) {
  SLICE_CHECK(D > 0 && sites > 1, "plan: want a hidden size and at least two sites, got {} and {}",
              D, sites);
  std::vector<int64_t> sizes(sites, kept_size(D, options.slice, options.round));
  if (options.head == HeadMode::kKeep) sizes.back() = D;
  return sizes;
}

namespace {

int64_t shortcut_parameters(const ModelConfig& c, int64_t sublayer) {
  const int64_t from = c.stream_size(sublayer), to = c.stream_size(sublayer + 1);
  switch (c.shortcut_of(sublayer)) {
    case ShortcutForm::kDense:
      return from * to;
    case ShortcutForm::kDiagonal:
      return std::min(from, to);
    case ShortcutForm::kLowRank:
      return c.shortcut_rank * (from + to);
    case ShortcutForm::kNone:
      break;
  }
  return 0;
}

}  // namespace

ParameterCount count_parameters(const ModelConfig& c) {
  ParameterCount count;
  const int64_t q = c.heads * c.head_size, kv = c.kv_heads * c.head_size;
  const int64_t gates = c.gated_mlp ? 2 : 1;
  const int64_t norm = c.sliced() ? 0 : c.hidden_size * (c.norm == NormKind::kLayer ? 2 : 1);
  int64_t others = norm;  // biases and norms
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const int64_t site = (c.parallel_block ? 1 : 2) * layer;
    const int64_t a = c.stream_size(site), b = c.stream_size(site + 1);
    const int64_t m = c.parallel_block ? a : b;  // what the feed-forward network reads
    const int64_t n = c.parallel_block ? b : c.stream_size(site + 2);  // and writes
    const int64_t F = c.ffn_width(layer);
    count.blocks += (q + 2 * kv) * a + b * q + gates * F * m + n * F;
    for (int64_t s = site; s < site + (c.parallel_block ? 1 : 2); ++s)
      count.shortcuts += shortcut_parameters(c, s);
    others += c.parallel_block ? norm : 2 * norm;
    if (c.qkv_bias) others += q + 2 * kv;
    if (c.output_bias) others += b;
    if (c.mlp_bias) others += gates * F + n;
  }
  count.blocks += count.shortcuts;
  const int64_t embeddings = (c.vocabulary_size + c.learned_positions) * c.stream_size(0);
  if (!c.tied_head) others += c.vocabulary_size * c.stream_size(c.sites() - 1);
  if (c.head_bias) others += c.vocabulary_size;
  count.total = embeddings + count.blocks + others;
  return count;
}

ExpectedCost expected_cost(const ModelConfig& dense, const std::vector<int64_t>& stream_sizes,
                           int64_t tokens, int64_t chunk_tokens, int64_t stored_bytes) {
  constexpr int64_t kFloat = 4, kLibraries = int64_t{400} << 20;
  constexpr double kEigenFlop = 9.0;  // of a D×D symmetric eigensolve with vectors, in units of D³
  const ParameterCount before = count_parameters(dense);
  const ParameterCount after = count_parameters(sliced_config(dense, stream_sizes));
  const double D = static_cast<double>(dense.hidden_size),
               sites = static_cast<double>(stream_sizes.size());
  const int64_t untied = dense.tied_head ? dense.vocabulary_size * dense.hidden_size : 0;
  const int64_t chunk = chunk_tokens * (3 * dense.ffn_size + 8 * dense.hidden_size);
  ExpectedCost cost;
  cost.host_bytes =
      kFloat * (before.total + untied + tokens * dense.hidden_size + chunk) + kLibraries;
  cost.disk_bytes = after.total * stored_bytes;
  cost.flop = 2.0 * static_cast<double>(tokens) * static_cast<double>(after.blocks) +
              2.0 * sites * (static_cast<double>(tokens) * D * D + kEigenFlop * D * D * D);
  return cost;
}

}  // namespace slice
