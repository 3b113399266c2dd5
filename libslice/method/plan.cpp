#include "libslice/method/plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/model/families/family.h"

namespace slice {

void check_options(const SliceOptions& o) {
  SLICE_ARGUMENT_CHECK(o.method == Method::kRefit || o.shortcut_form() == ShortcutForm::kDense,
                       "method slicegpt: its shortcuts are dense, not {}",
                       shortcut_name(o.shortcut_form()));
  SLICE_ARGUMENT_CHECK(o.method == Method::kRefit || o.ffn_sizes.empty(),
                       "method slicegpt: it leaves the feed-forward networks as they are");
  SLICE_ARGUMENT_CHECK(o.shortcut_form() != ShortcutForm::kLowRank || o.shortcut_rank >= 1,
                       "shortcut rank: want at least 1, got {}", o.shortcut_rank);
  SLICE_ARGUMENT_CHECK(o.method == Method::kRefit || !o.keep_tie,
                       "keep_tie: the slicegpt method unties the head; refit can keep it tied");
  const int budgets = (o.remove ? 1 : 0) + (o.remove_blocks ? 1 : 0) + (o.fit_bytes ? 1 : 0);
  SLICE_ARGUMENT_CHECK(budgets <= 1,
                       "budget: want exactly one of remove, remove_blocks and fit_bytes, got {}",
                       budgets);
  SLICE_ARGUMENT_CHECK(o.method == Method::kRefit || !o.budgeted(),
                       "method slicegpt: it has no search; want a fraction of the hidden size");
  SLICE_ARGUMENT_CHECK(!o.round || *o.round >= 1, "round: want at least 1, got {}", *o.round);
  SLICE_ARGUMENT_CHECK(!o.gradient_samples || *o.gradient_samples >= 1,
                       "gradient samples: want at least 1, got {}", *o.gradient_samples);
  SLICE_ARGUMENT_CHECK(o.recover >= 0, "recover: want epochs, 0 or more, got {}", o.recover);
  SLICE_ARGUMENT_CHECK(o.method == Method::kRefit || o.recover == 0,
                       "recover: the slicegpt method does not train; refit can");
}

bool SliceOptions::rotates(int64_t D) const {
  return method == Method::kSliceGpt || kept_size(D, *this) < D;
}

int64_t kept_size(int64_t D, double slice, int64_t round) {
  SLICE_ARGUMENT_CHECK(slice >= 0.0 && slice < 1.0, "slice: want a fraction in [0, 1), got {}",
                       slice);
  SLICE_ARGUMENT_CHECK(round >= 1, "round: want at least 1, got {}", round);
  if (slice == 0.0) return D;
  // The small term keeps (1 − 0.2)·D, which binary fractions miss by an ulp, from being rounded
  // down below its whole number.
  const int64_t k =
      static_cast<int64_t>(std::floor((1.0 - slice) * static_cast<double>(D) + 1e-9)) / round *
      round;
  SLICE_ARGUMENT_CHECK(k > 0, "slice {} of a hidden size of {} in multiples of {} leaves nothing",
                       slice, D, round);
  return k;
}

int64_t kept_size(int64_t D, const SliceOptions& options) {
  if (options.kept == 0) return kept_size(D, options.slice, options.round.value_or(kRound));
  SLICE_ARGUMENT_CHECK(options.kept > 0 && options.kept <= D, "kept size: want 1 … {}, got {}", D,
                       options.kept);
  return options.kept;
}

int64_t mean_coordinates(const ModelConfig& dense, const SliceOptions& o) {
  const models::Family& family = models::family(dense.family);
  const std::vector<int64_t> widths = o.ffn_sizes.empty() ? dense.ffn_widths() : o.ffn_sizes;
  const bool even = std::all_of(widths.begin(), widths.end(),
                                [&](int64_t width) { return width == widths.front(); });
  const bool stock = o.head == HeadMode::kSlice && o.shortcut_form() == ShortcutForm::kNone &&
                     !o.keep_tie && even && family.free_head_size && !family.fixed_eps &&
                     (family.head_bias || !dense.shifts());
  return dense.norm == NormKind::kLayer && stock ? 1 : 0;
}

SliceOptions with_kept_size(const ModelConfig& dense, SliceOptions options) {
  const int64_t D = dense.hidden_size, h = kept_size(D, options);
  if (options.kept == 0 && h < D) {
    options.kept = h - mean_coordinates(dense, options);
    SLICE_ARGUMENT_CHECK(options.kept > 0, "slice {} of a hidden size of {} leaves nothing",
                         options.slice, D);
  }
  return options;
}

std::vector<int64_t> plan_stream_sizes(int64_t D, int64_t sites, const SliceOptions& options) {
  SLICE_ARGUMENT_CHECK(D > 0 && sites > 1,
                       "plan: want a hidden size and at least two sites, got {} and {}", D, sites);
  std::vector<int64_t> sizes(sites, kept_size(D, options));
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
  const int64_t norm =
      c.sliced() ? 0 : c.hidden_size * ((c.norm_weight ? 1 : 0) + (c.shifts() ? 1 : 0));
  int64_t others = norm;  // biases and norms
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const int64_t site = (c.parallel_block ? 1 : 2) * layer;
    const int64_t a = c.stream_size(site), b = c.stream_size(site + 1);
    const int64_t m = c.parallel_block ? a : b;  // what the feed-forward network reads
    const int64_t n = c.parallel_block ? b : c.stream_size(site + 2);  // and writes
    const int64_t F = c.ffn_width(layer);
    const int64_t network = gates * F * m + n * F, E = c.experts.count;
    count.attention += (q + 2 * kv) * a + b * q;
    count.blocks += std::max<int64_t>(E, 1) * network + E * m;
    if (c.routed()) count.idle += (E - c.experts.per_token) * network;
    for (int64_t s = site; s < site + (c.parallel_block ? 1 : 2); ++s)
      count.shortcuts += shortcut_parameters(c, s);
    const int64_t norms = c.parallel_block && !c.branch_norms ? norm : 2 * norm;
    others += norms * (c.norm_place == NormPlace::kBoth ? 2 : 1);
    if (c.head_norm == HeadNorm::kEach) others += 2 * c.head_size;
    if (c.head_norm == HeadNorm::kAll) others += q + kv;
    if (c.qkv_bias) others += q + 2 * kv;
    if (c.output_bias) others += b;
    if (c.mlp_bias) others += gates * F + n;
    if (c.activation == Activation::kXielu) others += 2;  // its beta and eps are no parameters
  }
  count.blocks += count.attention + count.shortcuts;
  const int64_t first = c.stream_size(0), last = c.stream_size(c.sites() - 1);
  count.embeddings = (c.vocabulary_size + c.learned_positions) * first;
  const int64_t map = c.maps_head() ? first * last : 0;
  count.head = map + (c.tied_head ? 0 : c.vocabulary_size * last);
  if (c.maps_head() && c.shifts()) others += first;
  others += count.head;
  if (c.head_bias) others += c.vocabulary_size;
  count.total = count.embeddings + count.blocks + others;
  const int64_t rows = c.learned_positions > 0 ? 2 : 1;  // of a token and of its position
  count.read = count.blocks - count.idle + others +
               (c.tied_head ? c.vocabulary_size + rows - 1 : rows) * first;  // the head has its row
  count.multiplied =
      count.blocks - count.idle + map + c.vocabulary_size * (c.tied_head ? first : last);
  return count;
}

ModelConfig planned_config(const ModelConfig& dense, const SliceOptions& asked) {
  check_options(asked);
  const SliceOptions options = with_kept_size(dense, asked);
  const std::vector<int64_t> sizes = plan_stream_sizes(dense.hidden_size, dense.sites(), options);
  ModelConfig planned = dense;
  if (options.rotates(dense.hidden_size)) {
    SLICE_ARGUMENT_CHECK(
        !dense.norms_outputs(),
        "a {} has norms on what its sublayers write, which keep the residual stream as it is: "
        "neither slicegpt nor a smaller hidden size is possible; remove feed-forward channels "
        "alone, by a budget, or by refit with slice 0 and ffn sizes",
        dense.family);
    SLICE_ARGUMENT_CHECK(!options.keep_tie || dense.tied_head,
                         "keep tie: the head of this model is its own");
    planned = sliced_config(dense, sizes, options.keep_tie);
    planned.shortcut = options.shortcut_form();
    planned.shortcut_rank = std::min(options.shortcut_rank, sizes.front());
  }
  SLICE_ARGUMENT_CHECK(!dense.routed() || options.recover == 0,
                       "recover: the experts of a {} are not trained", dense.family);
  if (!options.ffn_sizes.empty()) {
    SLICE_ARGUMENT_CHECK(std::ssize(options.ffn_sizes) == dense.layers,
                         "ffn sizes: want {}, one a layer, got {}", dense.layers,
                         options.ffn_sizes.size());
    for (int64_t layer = 0; layer < dense.layers; ++layer) {
      const int64_t width = dense.ffn_width(layer), keep = options.ffn_sizes[layer];
      SLICE_ARGUMENT_CHECK(keep >= 1 && keep <= width,
                           "ffn sizes: want to keep 1 … {} channels in layer {}, got {}", width,
                           layer, keep);
    }
  }
  planned =
      narrowed_config(planned, options.ffn_sizes.empty() ? dense.ffn_widths() : options.ffn_sizes);
  SLICE_ARGUMENT_CHECK(!dense.norms_outputs() || planned.ffn_sizes.empty(),
                       "ffn sizes: a {} is written with one FFN width for all layers",
                       dense.family);
  return planned;
}

}  // namespace slice
