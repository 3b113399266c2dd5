#include "libslice/base/progress.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <set>

#include "libslice/evaluate/perplexity.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;

void check_forward(const std::vector<Progress>& words) {
  REQUIRE_FALSE(words.empty());
  for (size_t i = 0; i < words.size(); ++i) {
    CHECK(words[i].step >= 0);
    CHECK(words[i].step <= words[i].steps);
    CHECK(words[i].eta >= 0);
    if (i == 0) continue;
    CHECK(words[i].step >= words[i - 1].step);
    CHECK(words[i].seconds >= words[i - 1].seconds);
    CHECK(words[i].steps == words[0].steps);
    CHECK(words[i].phase == words[0].phase);
  }
}

TEST_CASE("every long call reports its phase, going forward, and ends with its last step") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  std::vector<Progress> slicing, scoring, saving;
  const auto into = [](std::vector<Progress>& words) {
    return [&words](const Progress& p) { words.push_back(p); };
  };

  const SliceOptions options{
      .method = Method::kSliceGpt, .slice = 0.25, .head = HeadMode::kSlice, .chunk_tokens = 20};
  slice_model(model, random_tokens(config, 6, 10), options, into(slicing));
  check_forward(slicing);
  CHECK(slicing[0].phase == "slice");
  CHECK(slicing.back().step == slicing.back().steps);
  CHECK(slicing.size() == 4 * 3);  // sublayers × chunks
  for (const Progress& p : slicing) {
    CHECK(p.kept_variance > 0);
    CHECK(p.tokens_per_second > 0);
  }

  std::vector<Progress> head_kept;  // whose last sublayer need not run
  Model dense = random_model(config);
  slice_model(dense, random_tokens(config, 6, 10), {.method = Method::kSliceGpt, .slice = 0.25},
              into(head_kept));
  check_forward(head_kept);
  CHECK(head_kept.back().step == head_kept.back().steps);

  score_windows(model, random_tokens(config, 3, 10), into(scoring));
  check_forward(scoring);
  CHECK(scoring.back().phase == "score");
  CHECK(scoring.size() == 3);
  CHECK(scoring.back().step == 3);

  const TemporaryDirectory directory;
  save_model(model, directory.path() / "model", {.dtype = at::kFloat}, into(saving));
  check_forward(saving);
  CHECK(saving.back().phase == "save");
  CHECK(saving.back().step == static_cast<int64_t>(model.decoder().parameters().size()));
}

}  // namespace
}  // namespace slice
