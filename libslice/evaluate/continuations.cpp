#include "libslice/evaluate/continuations.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/group_decoder.h"
#include "libslice/decode/packed_model.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

namespace {

// Texts that are run together on a GPU: so many tokens that its launches are paid, and so few that
// what they take stays small beside a model.
constexpr int64_t kPackedTokens = 65536, kPackedBytes = int64_t{2} << 30;
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
  int64_t shared = 0, longest = 0;  // tokens of the beginning, of the longest row with it
};

Row row_of(const Continuation& text, const ModelConfig& config) {
  SLICE_ARGUMENT_CHECK(!text.context.empty() && !text.tokens.empty(),
                       "a context of {} tokens and a continuation of {}: want at least one each",
                       text.context.size(), text.tokens.size());
  const int64_t scored = static_cast<int64_t>(text.tokens.size());
  const int64_t context_length = config.context_length;
  SLICE_ARGUMENT_CHECK(scored <= context_length,
                       "a continuation of {} tokens is longer than the model's context of {}",
                       scored, context_length);
  Row row{text.context, text.tokens};
  row.ids.insert(row.ids.end(), text.tokens.begin(), text.tokens.end() - 1);
  if (row.size() > context_length) row.ids.erase(row.ids.begin(), row.ids.end() - context_length);
  for (const auto* ids : {&row.ids, &row.targets})
    for (const int64_t id : *ids)
      SLICE_ARGUMENT_CHECK(id >= 0 && id < config.vocabulary_size,
                           "tokens: want ids in [0, {}), got {}", config.vocabulary_size, id);
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

/// All groups that have rows, those with the longest first.
std::vector<Group> make_groups(std::span<const std::vector<Continuation>> texts,
                               const ModelConfig& config) {
  std::vector<Group> groups;
  for (size_t i = 0; i < texts.size(); ++i) {
    Group group{.number = i};
    for (const Continuation& text : texts[i]) {
      group.rows.push_back(row_of(text, config));
      group.longest = std::max(group.longest, group.rows.back().size());
    }
    if (group.rows.empty()) continue;
    group.shared = shared_length(group.rows);
    groups.push_back(std::move(group));
  }
  std::ranges::stable_sort(groups, std::ranges::greater{}, &Group::longest);
  return groups;
}

/// This rank's share, of all lengths.
std::vector<Group> own_groups(std::vector<Group> all, const ProcessGroup& ranks) {
  if (ranks.alone()) return all;
  std::vector<Group> own;
  for (auto i = static_cast<size_t>(ranks.rank()); i < all.size(); i += ranks.size())
    own.push_back(std::move(all[i]));
  return own;
}

/// Groups that were run together.
struct Batch {
  std::span<const Group> groups;
  Tensor stream;                // (n, k_last)
  std::vector<int64_t> begins;  // of every row: the place in it of the first token not shared
};

/// The first groups of `rest`, as many as run together, in one row of tokens.
Batch run_packed(const PackedModel& model, std::span<const Group> rest) {
  PackedTexts texts;
  Batch batch;
  size_t count = 0;
  for (const Group& group : rest) {
    if (texts.tokens() >= kPackedTokens || model.working_bytes(texts) >= kPackedBytes) break;
    const auto shared = static_cast<size_t>(group.shared);
    texts.begin(std::span(group.rows.front().ids).first(shared));
    for (const Row& row : group.rows)
      batch.begins.push_back(texts.add(std::span(row.ids).subspan(shared)));
    ++count;
  }
  batch.groups = rest.first(count);
  batch.stream = model.stream(texts);
  return batch;
}

Tensor as_row(std::span<const int64_t> ids) {
  return at::tensor(at::ArrayRef(ids.data(), ids.size()), at::kLong).unsqueeze(0);
}

/// The first group of `rest` by the modules: its beginning, then all rows with its keys and values,
/// zeros after a row's end.
Batch run_modules(const DecoderImpl& decoder, std::span<const Group> rest) {
  const Group& group = rest.front();
  const auto rows = std::ssize(group.rows);
  const int64_t width = group.longest - group.shared;
  const auto shared = static_cast<size_t>(group.shared);
  Batch batch;
  batch.groups = rest.first(1);
  Tensor tokens = at::zeros({rows, width}, at::kLong);
  int64_t* begin = tokens.mutable_data_ptr<int64_t>();
  for (const Row& row : group.rows) {
    batch.begins.push_back(std::ssize(batch.begins) * width);
    std::ranges::copy(std::span(row.ids).subspan(shared), begin + batch.begins.back());
  }
  tokens = tokens.to(decoder.device());
  if (shared == 0) {
    batch.stream = decoder.stream(tokens).flatten(0, 1);
    return batch;
  }
  const at::TensorOptions options = at::TensorOptions(decoder.device()).dtype(decoder.dtype());
  KvCache beginning(decoder.config(), 1, group.shared, options);
  decoder.stream(as_row(std::span(group.rows.front().ids).first(shared)), &beginning);
  KvCache cache = beginning.gathered(at::zeros({rows}, at::kLong), group.longest);
  batch.stream = decoder.stream(tokens, &cache).flatten(0, 1);
  return batch;
}

/// The scored places of a batch's stream and the ids that follow them, (n) each, on the device.
std::pair<Tensor, Tensor> scored_places(const Batch& batch) {
  std::vector<int64_t> places, targets;
  size_t number = 0;
  for (const Group& group : batch.groups)
    for (const Row& row : group.rows) {
      const int64_t begin = batch.begins[number++] - group.shared;
      for (int64_t t = row.first_scored(); t < row.size(); ++t) places.push_back(begin + t);
      targets.insert(targets.end(), row.targets.begin(), row.targets.end());
    }
  const at::Device device = batch.stream.device();
  return {at::tensor(places, at::kLong).to(device), at::tensor(targets, at::kLong).to(device)};
}

/// log p and whether it is the greatest, of every target: (n) float64, (n) bool, CPU.
std::pair<Tensor, Tensor> score_targets(const DecoderImpl& decoder, const Batch& batch) {
  const auto [places, targets] = scored_places(batch);
  std::vector<Tensor> likelihoods, greedy;
  for (int64_t begin = 0; begin < places.size(0); begin += kPositions) {
    const auto chunk = [&](const Tensor& x) {
      return x.slice(0, begin, std::min(begin + kPositions, x.size(0)));
    };
    const Tensor logits = decoder.logits(batch.stream.index_select(0, chunk(places)));  // (n, V)
    const bool wide = logits.scalar_type() == at::kDouble;
    const Tensor chosen = at::log_softmax(logits, 1, wide ? at::kDouble : at::kFloat)
                              .gather(1, chunk(targets).unsqueeze(1));
    likelihoods.push_back(chosen.squeeze(1));
    greedy.push_back(logits.argmax(1) == chunk(targets));
  }
  return {at::cat(likelihoods).cpu().to(at::kDouble), at::cat(greedy).cpu()};
}

void check_score(const ContinuationScore& score, size_t group) {
  SLICE_CHECK_AS(NumericError, !std::isnan(score.log_likelihood),
                 "a log-likelihood of group {} is NaN", group);
}

Progress progress(int64_t done, int64_t total, int64_t tokens, double seconds) {
  return {.phase = "questions",
          .step = done,
          .steps = total,
          .tokens_per_second = static_cast<double>(tokens) / seconds,
          .seconds = seconds,
          .eta = seconds * static_cast<double>(total - done) / static_cast<double>(done)};
}

void add_scores(const Batch& batch, const Tensor& likelihoods, const Tensor& greedy,
                std::vector<std::vector<ContinuationScore>>& scores) {
  const double* likelihood = likelihoods.const_data_ptr<double>();
  const bool* is_greedy = greedy.const_data_ptr<bool>();
  for (const Group& group : batch.groups)
    for (size_t i = 0; i < group.rows.size(); ++i) {
      ContinuationScore& score = scores[group.number][i] = {};
      for (size_t t = 0; t < group.rows[i].targets.size(); ++t) {
        score.log_likelihood += *likelihood++;
        score.greedy = *is_greedy++ && score.greedy;
      }
      check_score(score, group.number);
    }
}

/// Every rank has the scores of its own groups, and zeros of the others'.
void add_other_ranks(std::vector<std::vector<ContinuationScore>>& scores,
                     const ProcessGroup& ranks) {
  std::vector<double> own;
  for (const auto& group : scores)
    for (const ContinuationScore& score : group)
      own.insert(own.end(), {score.log_likelihood, score.greedy ? 1.0 : 0.0});
  Tensor all = at::tensor(own, at::kDouble);
  ranks.sum_inplace(all);
  const double* number = all.const_data_ptr<double>();
  for (auto& group : scores)
    for (ContinuationScore& score : group) {
      score.log_likelihood = *number++;
      score.greedy = *number++ != 0;
    }
}

}  // namespace

std::vector<std::vector<ContinuationScore>> score_continuations(
    const Model& model, std::span<const std::vector<Continuation>> texts,
    const OnProgress& on_progress, const ProcessGroup& ranks) {
  const at::NoGradGuard no_grad;
  const detail::Stopwatch clock;
  const DecoderImpl& decoder = model.decoder();
  const std::vector<Group> groups = own_groups(make_groups(texts, model.config()), ranks);
  const int64_t total = std::ssize(groups);
  std::vector<std::vector<ContinuationScore>> scores;
  for (const auto& group : texts)
    scores.emplace_back(group.size(), ContinuationScore{.log_likelihood = 0, .greedy = false});
  std::optional<PackedModel> packed;
  if (total > 0 && PackedModel::runs(model)) packed.emplace(model, groups.front().longest);
  int64_t done = 0, tokens = 0;
  while (done < total) {
    const auto rest = std::span(groups).subspan(static_cast<size_t>(done));
    const Batch batch = packed ? run_packed(*packed, rest) : run_modules(decoder, rest);
    const auto [likelihoods, greedy] = score_targets(decoder, batch);
    add_scores(batch, likelihoods, greedy, scores);
    done += std::ssize(batch.groups);
    tokens += batch.stream.size(0);
    if (on_progress) on_progress(progress(done, total, tokens, clock.seconds()));
  }
  if (!ranks.alone()) add_other_ranks(scores, ranks);
  return scores;
}

std::vector<std::vector<ContinuationScore>> score_continuations(
    GroupDecoder& decoder, std::span<const std::vector<Continuation>> texts,
    const OnProgress& on_progress) {
  const detail::Stopwatch clock;
  std::vector<std::vector<ContinuationScore>> scores(texts.size());
  int64_t tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    for (const Continuation& text : texts[i]) {
      const Row row = row_of(text, decoder.config());
      const TokenScores own = decoder.score(at::tensor(row.ids, at::kLong), row.first_scored(),
                                            at::tensor(row.targets, at::kLong));
      const ContinuationScore score = {.log_likelihood = own.log_likelihoods.sum().item<double>(),
                                       .greedy = own.greedy.all().item<bool>()};
      check_score(score, i);
      scores[i].push_back(score);
      tokens += row.size();
    }
    if (on_progress)
      on_progress(
          progress(static_cast<int64_t>(i) + 1, std::ssize(texts), tokens, clock.seconds()));
  }
  return scores;
}

}  // namespace slice
