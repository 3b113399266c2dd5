#include "libslice/checkpoint/output_form.h"

#include <catch2/catch_all.hpp>
#include <nlohmann/json.hpp>

#include "libslice/base/detail/file.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/model.h"
#include "libslice/format/gguf.h"
#include "tests/support/sliced_layouts.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;

TEST_CASE("what runs a result is known from its configuration") {
  struct Row {
    ModelConfig config;
    const char* want;
  };
  const ModelConfig llama = tiny_config();
  const auto families = tiny_families();  // mistral, qwen2 with a window, opt, phi, …
  ModelConfig tied = narrowed_config(llama, {30, 31});
  tied.tied_head = true;
  for (const auto& [config, want] : std::vector<Row>{
           {llama, "stock Transformers, vLLM; GGUF (llama)"},
           {narrowed_config(llama, {30, 31}), "custom code (trust_remote_code); GGUF (deci)"},
           {tied, "custom code (trust_remote_code); GGUF (deci)"},
           {without_shortcuts(llama, 18), "stock Transformers, vLLM; GGUF (llama)"},
           {without_shortcuts(llama, 19), "stock Transformers, vLLM; GGUF (llama)"},
           {custom_layouts(llama)[0].second, "custom code (trust_remote_code); no GGUF"},
           {families[0], "stock Transformers, vLLM; GGUF (llama)"},
           {families[1], "stock Transformers, vLLM; no GGUF"},
           {families[2], "stock Transformers, vLLM; no GGUF"},
           {without_shortcuts(families[1], 16), "stock Transformers; no GGUF"},
           {without_shortcuts(families[2], 16), "custom code (trust_remote_code); no GGUF"},
           {families[3], "stock Transformers, vLLM; GGUF (phi2)"},
           {without_shortcuts(families[3], 16), "stock Transformers; no GGUF"},
           {families[4], "stock Transformers, vLLM; GGUF (stablelm)"},
           {without_shortcuts(families[4], 16), "custom code (trust_remote_code); no GGUF"},
           {families[5], "stock Transformers, vLLM; GGUF (olmo)"},
           {without_shortcuts(families[5], 16), "custom code (trust_remote_code); no GGUF"}}) {
    INFO(tests::describe(config));
    const OutputForm form = output_form(config);
    CHECK(slice::describe(form) == want);
    CHECK(form.gguf.empty() != form.gguf_obstacle.empty());
    const TemporaryDirectory directory;
    const Model model = random_model(config, 1, at::kFloat);
    save_model(model, directory.path() / "m");
    const auto written =
        nlohmann::json::parse(detail::read_text_file(directory.path() / "m" / "config.json"));
    CHECK(written["model_type"] == form.model_type);
    CHECK(written.contains("auto_map") != form.stock);
    if (form.gguf.empty()) continue;
    save_gguf(model, directory.path() / "m.gguf");
    CHECK(GgufFile(directory.path() / "m.gguf").get<std::string>("general.architecture") ==
          form.gguf);
  }
}

}  // namespace
}  // namespace slice
