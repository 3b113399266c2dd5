// A config.json, as it is and as that of every family; after a zero byte a generation_config.json.

#include "libslice/base/detail/json.h"
#include "libslice/model/config_json.h"
#include "libslice/model/families/family.h"
#include "tests/fuzz/input.h"

namespace {

void parse(std::string_view text, std::string_view generation) {
  slice::ModelConfig config;
  try {
    config = slice::parse_config(text, "config.json");
    config = slice::with_generation_config(config, std::string(generation), "generation");
  } catch (const slice::Error&) {
    return;
  }
  slice::generation_config_json(config);
  // What is written can be read: no error may leave this.
  slice::parse_config(slice::config_json(config, "float32"), "written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view generation = slice::fuzz::as_text(data, size);
  const std::string_view text = slice::fuzz::next_text(generation);
  parse(text, generation);
  nlohmann::json object;
  slice::fuzz::refusable([&] { object = slice::detail::parse_json(text, "config.json"); });
  if (!object.is_object() || object.contains("stream_sizes")) return 0;
  object.erase("architectures");
  for (const slice::models::Family* family : slice::models::families()) {
    object["model_type"] = family->model_type;
    parse(object.dump(), generation);
  }
  return 0;
}
