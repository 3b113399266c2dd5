// On how many cards of 24 GB and of 40 GB a whole model decodes, and what a token costs there:
// random weights of published shapes, float16, one sequence of 128 tokens fed one by one.
//
//   bench_memory_caps [rows.csv] [model …]     SLICE_COMMIT names the commit in the rows
//
// A model's time is "modelled": the difference between two depths, run through the captured graph,
// is the time of a layer; layers are alike, so layer × depth + the rest is the model's. What the
// cards send each other is not counted. A number of cards is computed (placement.h); for the models
// of kAllocated the fullest card is also really filled and decoded on, beside a ballast that leaves
// the capacity of such a card. Throughput is that of the largest batch that two 80 GB cards hold.

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/ceilings.h"
#include "benchmarks/models.h"
#include "libslice/decode/generator.h"

namespace {

using namespace slice;  // NOLINT(google-build-using-namespace): a program, not a header
using at::Tensor;
using bench::PlacedBytes;

constexpr int64_t kLength = 128;
constexpr int64_t kMebibyte = int64_t{1} << 20;
constexpr const char* kModels[] = {"phi-2",   "llama2-7b", "opt-6.7b",   "llama2-13b",
                                   "opt-13b", "opt-30b",   "llama2-70b", "opt-66b"};
constexpr const char* kForms[] = {"dense", "slice25-dense", "slice25-none", "stock25"};
constexpr const char* kAllocated[] = {"llama2-13b", "llama2-70b"};
struct Card {
  const char* name;
  int64_t mebibytes;
};
constexpr Card kSmall[] = {{"24gb", 24564}, {"40gb", 40960}};  // what nvidia-smi shows
constexpr Card kLarge = {"80gb", 81080};                       // what a program sees of an H100

/// Published GPUs × time of LLaMA-2 70B sliced by 25 %, over dense, and on how many cards.
struct Published {
  const char* card;
  int64_t dense, sliced;
  double ratio;
};
constexpr Published kPublished[] = {{"24gb", 7, 5, 0.61}, {"40gb", 4, 3, 0.66}};

cudaStream_t stream() { return c10::cuda::getCurrentCUDAStream().stream(); }
at::Device device() { return {at::kCUDA, 0}; }

/// Milliseconds of a step of `batch` sequences, the mean of `tokens` steps from `begin` on.
double step_ms(const ModelConfig& config, int64_t batch, int64_t begin, int64_t tokens) {
  double time = 0;
  {
    const Model model = bench::random_model(config, device());
    Generator generator(model, kLength, batch);
    const Tensor token = at::zeros({batch, 1}, at::TensorOptions(device()).dtype(at::kLong));
    generator.feed(token);
    generator.continue_greedy(std::max<int64_t>(begin, 2) - 1);
    time = bench::median_ms(stream(), 3, [&] {
      generator.truncate(begin);
      generator.feed(token);
      generator.continue_greedy(tokens - 1);
    });
  }
  c10::cuda::CUDACachingAllocator::emptyCache();
  return time / static_cast<double>(tokens);
}

struct StepTime {
  double layer_ms = 0, rest_ms = 0;
  double of(int64_t layers) const { return static_cast<double>(layers) * layer_ms + rest_ms; }
};

/// Two depths, both of more weights than an L2 holds.
StepTime measure(ModelConfig config, const ModelConfig& whole, int64_t batch) {
  const auto at_depth = [&](int64_t layers) {
    config.layers = layers;
    if (whole.sliced()) {
      config.stream_sizes.assign(static_cast<size_t>(config.sites()), whole.stream_size(0));
    }
    return batch == 1 ? step_ms(config, 1, 0, kLength)
                      : step_ms(config, batch, kLength / 2 - 8, 16);  // the middle of a sequence
  };
  const int64_t low = 2, high = batch == 1 ? 6 : 4;
  const double less = at_depth(low), more = at_depth(high);
  const double layer = (more - less) / static_cast<double>(high - low);
  return {layer, std::max(0.0, less - static_cast<double>(low) * layer)};
}

/// What the fullest card holds, as a model of its own: its layers, and of the vocabulary as much as
/// its ends have.
ModelConfig on_fullest_card(const ModelConfig& whole, const bench::Placement& placement,
                            const PlacedBytes& bytes) {
  size_t fullest = 0;
  int64_t most = 0;
  const auto end_of = [&](size_t card) {
    return (card == 0 ? 1 : 0) + (card + 1 == placement.size() ? 1 : 0);
  };
  for (size_t card = 0; card < placement.size(); ++card) {
    const int64_t held = placement[card] * bytes.layers[0] + (card == 0 ? bytes.front : 0) +
                         (card + 1 == placement.size() ? bytes.back : 0);
    if (held > most) fullest = card;
    most = std::max(most, held);
  }
  ModelConfig config = whole;
  config.layers = placement[fullest];
  if (whole.sliced()) {
    config.stream_sizes.assign(static_cast<size_t>(config.sites()), whole.stream_size(0));
  }
  config.vocabulary_size = std::max<int64_t>(64, whole.vocabulary_size * end_of(fullest) / 2);
  return config;
}

/// Allocates and runs a model beside a ballast. @return  GiB in use without the ballast
/// @throws c10::OutOfMemoryError  it does not fit.
double allocate(const ModelConfig& config, int64_t card_bytes, int64_t batch) {
  c10::cuda::CUDACachingAllocator::emptyCache();
  size_t free = 0, total = 0;
  bench::check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const int64_t ballast = std::max<int64_t>(0, static_cast<int64_t>(total) - card_bytes);
  double used = 0;
  {
    const bench::DeviceBuffer held(ballast);
    const Model model = bench::random_model(config, device());
    Generator generator(model, kLength, batch);
    generator.feed(at::zeros({batch, 1}, at::TensorOptions(device()).dtype(at::kLong)));
    generator.continue_greedy(4);
    bench::check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    used = static_cast<double>(static_cast<int64_t>(total - free) - ballast) / 0x1p30;
  }
  c10::cuda::CUDACachingAllocator::emptyCache();
  return used;
}

/// Decoding of one model in one form.
struct Case {
  std::string model, form;
  ModelConfig config;
  PlacedBytes bytes;
  double token_ms = 0;
  std::map<std::string, int64_t> cards;  // by the card's name
  double tokens_per_s = 0;               // of the largest batch
};

class Bench {
 public:
  Bench(const std::string& path, double read_gbs) : csv_(path), read_gbs_(read_gbs) {}

  Case run(const std::string& model, const std::string& form, const Case* dense) {
    Case c{.model = model, .form = form, .config = {}, .bytes = {}, .cards = {}};
    c.config = bench::config_of_form(bench::published_config(model), form);
    c.bytes = bench::placed_bytes(c.config, kLength);
    time_token(c);
    for (const Card& card : kSmall) place(c, card, dense);
    if (model == "llama2-70b") {
      if (dense != nullptr) compare_with_published(c, *dense);
      largest_batch(c, dense);
    }
    return c;
  }

 private:
  bench::Row row(const Case& c, int64_t batch, const std::string& metric, double value,
                 const char* unit, const std::string& kind) const {
    bench::Row row;
    row.benchmark = "memory_caps";
    row.model = c.model;
    row.form = c.form;
    row.dtype = "float16";
    row.batch = std::to_string(batch);
    row.length = std::to_string(kLength);
    row.metric = metric;
    row.value = value;
    row.unit = unit;
    row.kind = kind;
    return row;
  }

  void time_token(Case& c) {
    const StepTime time = measure(c.config, c.config, 1);
    c.token_ms = time.of(c.config.layers);
    csv_.write(row(c, 1, "layer_ms", time.layer_ms, "ms", "measured: 6 layers less 2"));
    bench::Row decode = row(c, 1, "decode_ms", c.token_ms, "ms", "modelled: layer by layer");
    const PlacedBytes read = bench::placed_bytes(c.config, kLength / 2);
    decode.floor = static_cast<double>(read.total() - read.front + read.shared) / read_gbs_ * 1e-6;
    csv_.write(decode);
    std::printf("%-11s %-14s layer %7.4f ms, rest %7.4f, token %8.3f ms (%4.1f %% of the floor)\n",
                c.model.c_str(), c.form.c_str(), time.layer_ms, time.rest_ms, c.token_ms,
                100 * decode.floor / c.token_ms);
  }

  void place(Case& c, const Card& card, const Case* dense) {
    const int64_t capacity = card.mebibytes * kMebibyte;
    const int64_t room = bench::card_room(c.config, capacity, 1);
    const int64_t cards = bench::fewest_cards(c.bytes, room);
    c.cards[card.name] = cards;
    csv_.write(row(c, 1, std::string("cards_") + card.name, static_cast<double>(cards), "cards",
                   "computed: " + std::to_string(card.mebibytes) + " MiB each"));
    bench::Row cost =
        row(c, 1, std::string("gpu_ms_") + card.name, static_cast<double>(cards) * c.token_ms, "ms",
            "modelled: cards x ms per token");
    if (dense != nullptr) {
      cost.baseline = "dense";
      cost.baseline_value = static_cast<double>(dense->cards.at(card.name)) * dense->token_ms;
    }
    csv_.write(cost);
    std::printf("  %s: %ld cards, %.2f GPU ms", card.name, static_cast<long>(cards), cost.value);
    if (dense != nullptr) std::printf(", %.3f of dense", cost.value / cost.baseline_value);
    const bool wanted = std::any_of(std::begin(kAllocated), std::end(kAllocated),
                                    [&](const char* name) { return c.model == name; });
    if (wanted) verify(c, card, cards, 1);
    std::printf("\n");
    std::fflush(stdout);
  }

  /// The fullest of the cards, allocated beside the ballast.
  void verify(const Case& c, const Card& card, int64_t cards, int64_t batch) {
    const PlacedBytes bytes = bench::placed_bytes(c.config, batch * kLength);
    const bench::Placement placement = bench::balance(bytes, cards).placement;
    const ModelConfig part = on_fullest_card(c.config, placement, bytes);
    const double used = allocate(part, card.mebibytes * kMebibyte, batch);
    csv_.write(row(c, batch, std::string("peak_device_gib_") + card.name, used, "GiB",
                   "measured: " + std::to_string(part.layers) + " layers beside a ballast"));
    std::printf(", %ld layers allocated: %.2f GiB in use", static_cast<long>(part.layers), used);
  }

  void compare_with_published(const Case& c, const Case& dense) {
    for (const Published& published : kPublished) {
      bench::Row ratio =
          row(c, 1,
              std::string("gpu_ms_ratio_") + published.card + "_" +
                  std::to_string(published.dense) + "to" + std::to_string(published.sliced),
              static_cast<double>(published.sliced) * c.token_ms /
                  (static_cast<double>(published.dense) * dense.token_ms),
              "", "modelled: published placements");
      ratio.baseline = "published";
      ratio.baseline_value = published.ratio;
      csv_.write(ratio);
      std::printf("  %s %ld -> %ld cards as published: %.3f of dense (published %.2f)\n",
                  published.card, static_cast<long>(published.dense),
                  static_cast<long>(published.sliced), ratio.value, published.ratio);
    }
  }

  /// The largest batch, in steps of 64, that two large cards hold by count, then in fact.
  int64_t fitting_batch(const Case& c) {
    constexpr int64_t kStep = 64, kCards = 2;
    const auto fits = [&](int64_t batch) {
      const int64_t room = bench::card_room(c.config, kLarge.mebibytes * kMebibyte, batch);
      const int64_t cards =
          bench::fewest_cards(bench::placed_bytes(c.config, batch * kLength), room);
      return cards > 0 && cards <= kCards;
    };
    int64_t batch = 0;
    while (fits(batch + kStep)) batch += kStep;
    for (; batch > 0; batch -= kStep) {
      try {
        std::printf("  two 80gb cards, batch %ld", static_cast<long>(batch));
        verify(c, kLarge, kCards, batch);
        break;
      } catch (const c10::OutOfMemoryError&) {
        std::printf(" does not fit\n");
      }
    }
    return batch;
  }

  /// Tokens a second of the largest batch.
  void largest_batch(Case& c, const Case* dense) {
    const int64_t batch = fitting_batch(c);
    if (batch == 0) return;
    const StepTime time = measure(c.config, c.config, batch);
    c.tokens_per_s = static_cast<double>(batch) / time.of(c.config.layers) * 1e3;
    bench::Row speed = row(c, batch, "tokens_per_s_two_80gb", c.tokens_per_s, "tokens/s",
                           "modelled: layer by layer");
    if (dense != nullptr) {
      speed.baseline = "dense";
      speed.baseline_value = dense->tokens_per_s;
    }
    csv_.write(speed);
    std::printf(", %.0f tokens/s", c.tokens_per_s);
    if (dense != nullptr) std::printf(", %.3f of dense", c.tokens_per_s / dense->tokens_per_s);
    std::printf("\n");
    std::fflush(stdout);
  }

  bench::Csv csv_;
  double read_gbs_;
};

double read_gbs_here() {
  const bench::Stream stream;
  bench::Timer timer(stream.get());
  return bench::measure_read_gbs(timer, stream.get());
}

}  // namespace

int main(int argc, char** argv) try {
  if (!bench::has_gpu()) throw std::runtime_error("no CUDA device");
  const std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  const c10::cuda::CUDAStreamGuard guard(c10::cuda::getStreamFromPool());
  const double read_gbs = read_gbs_here();
  std::printf("read %.0f GB/s\n", read_gbs);
  Bench bench(argc > 1 ? argv[1] : "memory_caps.csv", read_gbs);
  for (const char* model : kModels) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), model) == wanted.end()) continue;
    std::optional<Case> dense;
    for (const char* form : kForms) {
      Case c = bench.run(model, form, dense ? &*dense : nullptr);
      if (!dense) dense = std::move(c);
    }
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_memory_caps: %s\n", error.what());
  return 1;
}
