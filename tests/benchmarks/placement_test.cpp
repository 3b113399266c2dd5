#include "benchmarks/placement.h"

#include <catch2/catch_all.hpp>
#include <random>

#include "benchmarks/models.h"
#include "libslice/method/plan.h"
#include "tests/support/published_models.h"

namespace slice::tests {
namespace {

using bench::PlacedBytes;
using bench::Placement;

/// Most bytes on a card when the layers are cut into these runs.
int64_t fullest_card(const PlacedBytes& model, const Placement& runs) {
  int64_t fullest = 0, layer = 0;
  for (size_t card = 0; card < runs.size(); ++card) {
    int64_t bytes = card == 0 ? model.front : 0;
    if (card + 1 == runs.size()) bytes += model.back - (card == 0 ? model.shared : 0);
    for (int64_t i = 0; i < runs[card]; ++i) bytes += model.layers[static_cast<size_t>(layer++)];
    fullest = std::max(fullest, bytes);
  }
  return fullest;
}

/// Least that the fullest of exactly `cards` cards has to hold, every cut tried.
int64_t least_fullest(const PlacedBytes& model, int64_t cards, Placement runs = {}) {
  const int64_t placed = std::accumulate(runs.begin(), runs.end(), int64_t{0});
  const int64_t left = std::ssize(model.layers) - placed;
  if (std::ssize(runs) + 1 == cards) {
    runs.push_back(left);
    return fullest_card(model, runs);
  }
  int64_t best = std::numeric_limits<int64_t>::max();
  for (int64_t run = 0; run <= left; ++run) {
    Placement longer = runs;
    longer.push_back(run);
    best = std::min(best, least_fullest(model, cards, longer));
  }
  return best;
}

int64_t mebibytes(int64_t count) { return count << 20; }

int64_t cards_of(const std::string& model, const std::string& form, int64_t mib) {
  const ModelConfig config = bench::config_of_form(bench::published_config(model), form);
  return bench::fewest_cards(bench::placed_bytes(config, 128),
                             bench::card_room(config, mebibytes(mib), 1));
}

}  // namespace

TEST_CASE("no cut of the layers needs fewer cards, and none is more even") {
  std::mt19937 random(7);
  std::uniform_int_distribution<int64_t> bytes(0, 9);
  for (int trial = 0; trial < 60; ++trial) {
    PlacedBytes model{.front = bytes(random), .layers = {}, .back = bytes(random), .shared = 0};
    model.shared = std::min({model.front, model.back, bytes(random)});
    for (int i = 0; i < 6; ++i) model.layers.push_back(1 + bytes(random));
    int64_t best = std::numeric_limits<int64_t>::max();
    for (int64_t cards = 1; cards <= 4; ++cards) {
      CAPTURE(trial, cards);
      best = std::min(best, least_fullest(model, cards));
      const bench::Balanced balanced = bench::balance(model, cards);
      CHECK(balanced.fullest == best);
      CHECK(std::ssize(balanced.placement) <= cards);
      CHECK(fullest_card(model, balanced.placement) <= best);
      CHECK(bench::fewest_cards(model, best) <= cards);
      if (const int64_t fewer = bench::fewest_cards(model, best - 1); fewer > 0)
        CHECK(fewer > cards);
    }
  }
}

TEST_CASE("a piece larger than a card has no placement") {
  CHECK(bench::fewest_cards({.front = 1, .layers = {3, 9, 3}, .back = 1}, 8) == 0);
  CHECK(bench::fewest_cards({.front = 9, .layers = {3}, .back = 1}, 8) == 0);
  CHECK(bench::fewest_cards({.front = 1, .layers = {3}, .back = 9}, 8) == 0);
}

TEST_CASE("shapes of the benchmarks are the published ones") {
  const std::map<std::string, std::string> names = {
      {"OPT 6.7B", "opt-6.7b"},      {"OPT 13B", "opt-13b"},      {"OPT 30B", "opt-30b"},
      {"OPT 66B", "opt-66b"},        {"LLaMA-2 7B", "llama2-7b"}, {"LLaMA-2 13B", "llama2-13b"},
      {"LLaMA-2 70B", "llama2-70b"}, {"Phi-2", "phi-2"}};
  for (const PublishedModel& published : published_models()) {
    const auto name = names.find(published.name);
    if (name == names.end()) continue;
    CAPTURE(published.name);
    const ModelConfig dense = bench::published_config(name->second);
    CHECK(bench::placed_bytes(dense, 0).total() == 2 * published.dense);
    const auto blocks = static_cast<double>(count_parameters(dense).blocks);
    const ModelConfig stock = bench::config_of_form(dense, "stock25");
    CHECK(static_cast<double>(count_parameters(stock).blocks) / blocks ==
          Catch::Approx(0.75).epsilon(0.005));
  }
}

TEST_CASE("a form names how much is sliced and by what shortcuts") {
  const ModelConfig dense = bench::published_config("opt-13b");
  const ModelConfig fifth = bench::config_of_form(dense, "slice20-none");
  CHECK(fifth.stream_size(0) == 4096);
  CHECK(fifth.shortcut == ShortcutForm::kNone);
  const ModelConfig low = bench::config_of_form(dense, "slice30-lowrank64");
  CHECK(low.stream_size(0) == 3584);
  CHECK(low.shortcut == ShortcutForm::kLowRank);
  CHECK(low.shortcut_rank == 64);
  for (const char* form : {"", "slice", "slice25", "slice25-", "slice0-none", "slice-5-none",
                           "slice25-whole", "stock30"})
    CHECK_THROWS(bench::config_of_form(dense, form));
}

TEST_CASE("70B takes six and four cards, a quarter less five and three") {
  CHECK(cards_of("llama2-70b", "dense", 24564) == 6);
  CHECK(cards_of("llama2-70b", "slice25-none", 24564) == 5);
  CHECK(cards_of("llama2-70b", "dense", 40960) == 4);
  CHECK(cards_of("llama2-70b", "slice25-none", 40960) == 3);
  CHECK(cards_of("llama2-13b", "dense", 24564) == 2);
  CHECK(cards_of("llama2-13b", "slice25-dense", 24564) == 1);
}

}  // namespace slice::tests
