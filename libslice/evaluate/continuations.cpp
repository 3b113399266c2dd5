#include "libslice/evaluate/continuations.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

namespace {

// Tokens of a batch: enough to fill a GPU, whose launches cost the more the smaller a model is, but
// of so many bytes of keys and values at most.
constexpr int64_t kTokensOnGpu = 65536, kTokensOnCpu = 4096, kCacheBytes = int64_t{4} << 30;
// Beginnings of one batch may differ in length while what lies after the shortest of them, and is
// computed once a row, is at most this part of the batch's tokens.
constexpr double kRepeated = 0.125;
// Positions whose logits are alive together: V numbers each, far more than the stream has.
constexpr int64_t kPositions = 1024;

/// One continuation as the model reads it: all ids but the last, the last `scored` of them in front
/// of the ids that are scored.
struct Row {
  std::vector<int64_t> ids, targets;
  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  int64_t first_scored() const { return size() - static_cast<int64_t>(targets.size()); }
};

/// Rows with a common beginning.
struct Group {
  size_t number;  // of the caller's list
  std::vector<Row> rows = {};
  int64_t shared = 0, longest = 0;  // tokens of the beginning, of the longest row after it
};

Row row_of(const Continuation& text, int64_t context_length) {
  SLICE_ARGUMENT_CHECK(!text.context.empty() && !text.tokens.empty(),
                       "a context of {} tokens and a continuation of {}: want at least one each",
                       text.context.size(), text.tokens.size());
  const int64_t scored = static_cast<int64_t>(text.tokens.size());
  SLICE_ARGUMENT_CHECK(scored <= context_length,
                       "a continuation of {} tokens is longer than the model's context of {}",
                       scored, context_length);
  Row row{text.context, text.tokens};
  row.ids.insert(row.ids.end(), text.tokens.begin(), text.tokens.end() - 1);
  if (row.size() > context_length) row.ids.erase(row.ids.begin(), row.ids.end() - context_length);
  return row;
}

/// How many leading tokens all rows share, of those whose logits no row needs. None of a single
/// row: it is run in one piece.
int64_t shared_length(const std::vector<Row>& rows) {
  if (rows.size() < 2) return 0;
  int64_t shared = rows.front().first_scored();
  for (const Row& row : rows) {
    const int64_t most = std::min(shared, row.first_scored());
    const auto begin = rows.front().ids.begin();
    shared = std::mismatch(begin, begin + most, row.ids.begin()).first - begin;
  }
  return shared;
}

std::vector<Group> make_groups(std::span<const std::vector<Continuation>> texts,
                               int64_t context_length) {
  std::vector<Group> groups;
  for (size_t i = 0; i < texts.size(); ++i) {
    Group group{.number = i};
    for (const Continuation& text : texts[i]) group.rows.push_back(row_of(text, context_length));
    if (group.rows.empty()) continue;
    group.shared = shared_length(group.rows);
    for (const Row& row : group.rows)
      group.longest = std::max(group.longest, row.size() - group.shared);
    groups.push_back(std::move(group));
  }
  std::stable_sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    return std::pair(a.shared, a.longest) > std::pair(b.shared, b.longest);
  });
  return groups;
}

/// Groups that are run together. Their beginnings count as far as the shortest one reaches, that of
/// the last group; what a longer one has after it is a part of its rows.
struct Batch {
  std::span<const Group> groups;
  int64_t shared = 0, rows = 0, longest = 0, repeated = 0;

  /// The batch with one group more, which follows in the order of lengths.
  Batch with(std::span<const Group> more) const {
    const int64_t next = more.back().shared, less = groups.empty() ? 0 : shared - next;
    const auto n = static_cast<int64_t>(more.back().rows.size());
    return {.groups = more,
            .shared = next,
            .rows = rows + n,
            .longest = std::max(longest + less, more.back().longest),
            .repeated = repeated + less * rows};
  }
  /// Tokens that go through the model, padding after rows included.
  int64_t tokens() const { return static_cast<int64_t>(groups.size()) * shared + rows * longest; }
};

/// The first groups of `rest` that fit together: a row of the cache holds the shared tokens too.
Batch next_batch(std::span<const Group> rest, int64_t most_tokens) {
  Batch batch = Batch().with(rest.first(1));
  for (size_t count = 2; count <= rest.size(); ++count) {
    const Batch more = batch.with(rest.first(count));
    if (more.rows * (more.shared + more.longest) > most_tokens ||
        static_cast<double>(more.repeated) > kRepeated * static_cast<double>(more.tokens()) ||
        (more.shared == 0) != (batch.shared == 0))
      break;
    batch = more;
  }
  return batch;
}

/// The shared beginnings, (groups, shared).
Tensor shared_tokens(const Batch& batch) {
  const int64_t shared = batch.shared;
  Tensor tokens = at::empty({static_cast<int64_t>(batch.groups.size()), shared}, at::kLong);
  int64_t* next = tokens.mutable_data_ptr<int64_t>();
  for (const Group& group : batch.groups)
    next = std::copy_n(group.rows.front().ids.begin(), shared, next);
  return tokens;
}

/// What a batch runs after its shared beginnings.
struct Rest {
  Tensor tokens;   // (rows, longest), zeros after a row's end
  Tensor parents;  // (rows): the group of each
  Tensor places;   // (n): scored positions in rows × longest
  Tensor targets;  // (n): their tokens
};

Rest rest_of(const Batch& batch) {
  const int64_t shared = batch.shared, longest = batch.longest;
  Rest rest;
  rest.tokens = at::zeros({batch.rows, longest}, at::kLong);
  std::vector<int64_t> parents, places, targets;
  int64_t* begin = rest.tokens.mutable_data_ptr<int64_t>();
  for (size_t g = 0; g < batch.groups.size(); ++g)
    for (const Row& row : batch.groups[g].rows) {
      const int64_t r = static_cast<int64_t>(parents.size());
      std::copy(row.ids.begin() + shared, row.ids.end(), begin + r * longest);
      parents.push_back(static_cast<int64_t>(g));
      for (int64_t t = row.first_scored(); t < row.size(); ++t)
        places.push_back(r * longest + t - shared);
      targets.insert(targets.end(), row.targets.begin(), row.targets.end());
    }
  rest.parents = at::tensor(parents, at::kLong);
  rest.places = at::tensor(places, at::kLong);
  rest.targets = at::tensor(targets, at::kLong);
  return rest;
}

/// The stream of a batch's rows, (rows, longest, k).
Tensor stream_of(const DecoderImpl& decoder, const Batch& batch, const Rest& rest) {
  const int64_t shared = batch.shared;
  const Tensor tokens = rest.tokens.to(decoder.device());
  if (shared == 0) return decoder.stream(tokens);
  const at::TensorOptions options = at::TensorOptions(decoder.device()).dtype(decoder.dtype());
  KvCache beginnings(decoder.config(), static_cast<int64_t>(batch.groups.size()), shared, options);
  decoder.stream(shared_tokens(batch).to(decoder.device()), &beginnings);
  KvCache rows = beginnings.gathered(rest.parents, shared + tokens.size(1));
  return decoder.stream(tokens, &rows);
}

/// Tokens that one batch may hold.
int64_t most_tokens(const DecoderImpl& decoder) {
  if (!decoder.device().is_cuda()) return kTokensOnCpu;
  const ModelConfig& c = decoder.config();
  const int64_t bytes = 2 * c.layers * c.kv_heads * c.head_size *
                        static_cast<int64_t>(at::elementSize(decoder.dtype()));
  return std::clamp(kCacheBytes / bytes, kTokensOnCpu, kTokensOnGpu);
}

/// log p and whether it is the greatest, of every target: (n) float32 or float64, (n) bool, CPU.
std::pair<Tensor, Tensor> score_targets(const DecoderImpl& decoder, const Tensor& stream,
                                        const Rest& rest) {
  const Tensor flat = stream.flatten(0, 1);
  std::vector<Tensor> likelihoods, greedy;
  for (int64_t begin = 0; begin < rest.places.size(0); begin += kPositions) {
    const int64_t end = std::min(begin + kPositions, rest.places.size(0));
    const Tensor places = rest.places.slice(0, begin, end).to(flat.device());
    const Tensor targets = rest.targets.slice(0, begin, end).to(flat.device());
    Tensor logits = decoder.logits(flat.index_select(0, places));  // (end − begin, V)
    if (logits.scalar_type() != at::kDouble) logits = logits.to(at::kFloat);
    const Tensor chosen = logits.gather(1, targets.unsqueeze(1)).squeeze(1);
    likelihoods.push_back(chosen - logits.logsumexp(1));
    greedy.push_back(logits.argmax(1) == targets);
  }
  return {at::cat(likelihoods).cpu().to(at::kDouble), at::cat(greedy).cpu()};
}

void add_scores(const Batch& batch, const Tensor& likelihoods, const Tensor& greedy,
                std::vector<std::vector<ContinuationScore>>& scores) {
  const double* likelihood = likelihoods.const_data_ptr<double>();
  const bool* is_greedy = greedy.const_data_ptr<bool>();
  for (const Group& group : batch.groups)
    for (const Row& row : group.rows) {
      ContinuationScore score;
      for (size_t t = 0; t < row.targets.size(); ++t) {
        score.log_likelihood += *likelihood++;
        score.greedy = *is_greedy++ && score.greedy;
      }
      SLICE_CHECK_AS(NumericError, !std::isnan(score.log_likelihood),
                     "a log-likelihood of group {} is NaN", group.number);
      scores[group.number].push_back(score);
    }
}

}  // namespace

std::vector<std::vector<ContinuationScore>> score_continuations(
    const Model& model, std::span<const std::vector<Continuation>> texts,
    const OnProgress& on_progress) {
  const at::NoGradGuard no_grad;
  const detail::Stopwatch clock;
  const DecoderImpl& decoder = model.decoder();
  const std::vector<Group> groups = make_groups(texts, model.config().context_length);
  const int64_t most = most_tokens(decoder);
  const int64_t total = static_cast<int64_t>(groups.size());
  std::vector<std::vector<ContinuationScore>> scores(texts.size());
  int64_t done = 0, tokens = 0;
  while (done < total) {
    const Batch batch = next_batch(std::span(groups).subspan(static_cast<size_t>(done)), most);
    const Rest rest = rest_of(batch);
    const auto [likelihoods, greedy] =
        score_targets(decoder, stream_of(decoder, batch, rest), rest);
    add_scores(batch, likelihoods, greedy, scores);
    done += static_cast<int64_t>(batch.groups.size());
    tokens += batch.tokens();
    if (!on_progress) continue;
    const double seconds = clock.seconds();
    on_progress({.phase = "questions",
                 .step = done,
                 .steps = total,
                 .tokens_per_second = static_cast<double>(tokens) / seconds,
                 .seconds = seconds,
                 .eta = seconds * static_cast<double>(total - done) / static_cast<double>(done)});
  }
  return scores;
}

}  // namespace slice
