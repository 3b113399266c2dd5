#include "libslice/decode/detail/divided_decoding.h"

#include <ATen/ATen.h>

#include <functional>
#include <set>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/divided_devices.h"
#include "libslice/decode/request.h"
#include "libslice/decode/sampling.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice::detail {

using at::Tensor;

namespace {

std::unique_ptr<KvCache> cache_of(const DecoderImpl& decoder, int64_t batch, int64_t capacity) {
  return std::make_unique<KvCache>(decoder.config(), batch, capacity,
                                   at::TensorOptions(decoder.device()).dtype(decoder.dtype()));
}

/// What each rank has of a decoding, made and freed by its thread.
template <typename Graph>
struct RankGraph {
  std::unique_ptr<KvCache> cache;  // absent where the caller has it
  std::unique_ptr<Graph> graph;
};

template <typename Graph>
void free_by_threads(DividedDevices& devices, std::vector<RankGraph<Graph>>& ranks) {
  try {
    devices.run([&](int64_t rank) { ranks[rank] = {}; });
  } catch (const std::exception&) {  // of a device that has failed
  }
}

class DividedDecoding final : public Decoding {
 public:
  DividedDecoding(DividedDevices& devices, KvCache& cache)
      : devices_(devices), cache_(cache), ranks_(static_cast<size_t>(devices.parts())) {
    make_graphs();
  }
  ~DividedDecoding() override { free_by_threads(devices_, ranks_); }

  bool is_captured() const override { return true; }

  Tensor feed(const Tensor& tokens) override {
    const Tensor ids = tokens.cpu();  // (B, T)
    Tensor logits;                    // (B, V)
    run([&](int64_t rank, Decoding& graph) {
      const Tensor own = graph.feed(ids);
      if (rank == 0) logits = awaited(own);
    });
    return logits;
  }

  Tensor continue_inplace(Tensor& logits, int64_t n, const SamplingOptions& sampling, uint64_t seed,
                          uint64_t sequence) override {
    const Tensor before = logits.cpu();  // (B, V), which the caller may have changed
    Tensor ids, after;                   // (B, n), (B, V)
    run([&](int64_t rank, Decoding& graph) {
      Tensor own = before;
      const Tensor sampled = graph.continue_inplace(own, n, sampling, seed, sequence);
      if (rank > 0) return;
      ids = sampled;
      after = awaited(own);
    });
    logits = after;
    return ids;
  }

 private:
  /// A tensor that the caller reads on another stream perhaps.
  static Tensor awaited(const Tensor& tensor) {
    tensor.slice(0, 0, 1).slice(1, 0, 1).cpu();
    return tensor;
  }

  void make_graphs() {
    devices_.run([&](int64_t rank) {
      const DecoderImpl& decoder = devices_.decoder(rank);
      auto& own = ranks_[rank];
      if (rank > 0 && !own.cache) own.cache = cache_of(decoder, cache_.batch(), cache_.capacity());
      own.graph.reset();
      own.graph = make_decode_graph(decoder, rank > 0 ? *own.cache : cache_, &devices_.link(rank));
    });
    failed_ = false;
  }

  void run(const std::function<void(int64_t rank, Decoding& graph)>& task) {
    const int64_t length = cache_.length();
    // One rank may have captured a step that another has not: they would not do the same next time.
    if (failed_) make_graphs();
    try {
      devices_.run([&](int64_t rank) {
        auto& own = ranks_[rank];
        if (own.cache) {
          own.cache->truncate(0);
          own.cache->advance(length);
        }
        task(rank, *own.graph);
      });
    } catch (...) {
      failed_ = true;
      cache_.truncate(length);  // whatever the first rank did
      throw;
    }
  }

  DividedDevices& devices_;
  KvCache& cache_;  // the first rank's
  std::vector<RankGraph<Decoding>> ranks_;
  bool failed_ = false;
};

class DividedRows final : public RowDecoding {
 public:
  DividedRows(DividedDevices& devices, int64_t rows, int64_t capacity)
      : devices_(devices),
        rows_(rows),
        capacity_(capacity),
        ranks_(static_cast<size_t>(devices.parts())) {
    make_graphs();
    lost_.resize(static_cast<size_t>(rows));
  }
  ~DividedRows() override { free_by_threads(devices_, ranks_); }

  int64_t positions() const override { return devices_.decoder(0).positions(); }

  void enter(int64_t row, const std::vector<int64_t>& prompt,
             const GenerateOptions& options) override {
    if (failed_) make_graphs();
    devices_.run([&](int64_t rank) { ranks_[rank].graph->enter(row, prompt, options); });
    shown_.erase(row);
    lost_.at(row) = false;
  }

  void feed_row(int64_t row, int64_t position, std::span<const int64_t> tokens,
                const SeeLogits& see) override {
    check_row(row);
    devices_.run([&](int64_t rank) {
      ranks_[rank].graph->feed_row(row, position, tokens, rank == 0 ? see : SeeLogits());
    });
  }

  void feed_rows(const std::vector<PromptPiece>& pieces) override {
    for (const PromptPiece& piece : pieces) check_row(piece.row);
    devices_.run([&](int64_t rank) { ranks_[rank].graph->feed_rows(pieces); });
  }

  void take_prompt(int64_t row, int64_t length, const Tensor& logits) override {
    check_row(row);
    const Tensor host = logits.cpu();  // (V)
    devices_.run([&](int64_t rank) { ranks_[rank].graph->take_prompt(row, length, host); });
  }

  Tensor logits(int64_t row) override {
    check_row(row);
    shown_.insert(row);
    return ranks_[0].graph->logits(row);
  }

  std::vector<std::vector<int64_t>> continue_rows(const std::vector<DecodingRow>& rows,
                                                  const std::vector<DecodingRow>& waiting,
                                                  int64_t n) override {
    std::vector<std::pair<int64_t, Tensor>> changed;  // rows whose logits the caller may have
    for (const DecodingRow& row : rows) {
      check_row(row.row);
      if (shown_.contains(row.row))
        changed.emplace_back(row.row, ranks_[0].graph->logits(row.row).cpu());  // (V)
    }
    std::vector<std::vector<int64_t>> ids;
    try {
      devices_.run([&](int64_t rank) {
        RowDecoding& own = *ranks_[rank].graph;
        if (rank > 0)
          for (const auto& [row, logits] : changed) own.take_prompt(row, 0, logits);
        auto sampled = own.continue_rows(rows, waiting, n);
        if (rank == 0) ids = std::move(sampled);
      });
    } catch (...) {  // some ranks may be ahead of others
      failed_ = true;
      lost_.assign(lost_.size(), true);
      throw;
    }
    shown_.clear();
    return ids;
  }

 private:
  void make_graphs() {
    devices_.run([&](int64_t rank) {
      const DecoderImpl& decoder = devices_.decoder(rank);
      auto& own = ranks_[rank];
      if (!own.cache) own.cache = cache_of(decoder, rows_, capacity_);
      own.graph.reset();
      own.graph = make_row_graph(decoder, *own.cache, &devices_.link(rank));
    });
    failed_ = false;
  }

  void check_row(int64_t row) const {
    SLICE_CHECK_AS(DeviceError, !lost_.at(row), "batch: a GPU failed, this text cannot continue");
  }

  DividedDevices& devices_;
  int64_t rows_, capacity_;
  std::vector<RankGraph<RowDecoding>> ranks_;
  std::set<int64_t> shown_;  // rows whose logits were given away since the last step
  std::vector<bool> lost_;   // of each row, its logits, until it is entered anew
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Decoding> make_divided_decoding(DividedDevices& devices, KvCache& cache) {
  return std::make_unique<DividedDecoding>(devices, cache);
}

std::unique_ptr<RowDecoding> make_divided_rows(DividedDevices& devices, int64_t rows,
                                               int64_t capacity) {
  return std::make_unique<DividedRows>(devices, rows, capacity);
}

}  // namespace slice::detail
