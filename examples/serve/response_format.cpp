#include "examples/serve/response_format.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "libslice/decode/logit_rules.h"
#include "libslice/text/json_grammar.h"

namespace serve {
namespace {

/// The texts of one request, and which tokens they may have next.
class JsonTexts {
 public:
  JsonTexts(const slice::JsonGrammar& grammar, const ServedModel& model, int64_t texts)
      : ends_(model.tokenizer->eos_tokens()) {
    for (int64_t i = 0; i < texts; ++i) texts_.push_back({slice::JsonText(grammar, model.bytes)});
  }

  /// @param logits  (V)
  void constrain(int64_t index, std::span<const int64_t> written, at::Tensor& logits) {
    Text& text = texts_[static_cast<size_t>(index)];
    for (const int64_t id : written.subspan(text.length)) {
      if (!text.json.push(id)) throw slice::Error("a token came that the format has no place for");
    }
    text.length = written.size();
    std::vector<uint8_t> allowed(static_cast<size_t>(logits.size(0)), 0);
    text.json.allow(allowed);
    if (text.json.may_end()) {
      for (const int64_t id : ends_) {
        if (std::cmp_less(id, allowed.size())) allowed[static_cast<size_t>(id)] = 1;
      }
    }
    if (std::ranges::count(allowed, 0) == std::ssize(allowed))
      throw slice::Error("no token of the model fits the format here");
    const at::Tensor mask = at::from_blob(allowed.data(), {logits.size(0)}, at::kBool);  // (V)
    slice::allow_only_inplace(logits, mask.to(logits.device()));
  }

 private:
  struct Text {
    slice::JsonText json;
    size_t length = 0;
  };

  std::vector<int64_t> ends_;
  std::vector<Text> texts_;
};

slice::JsonGrammar read_grammar(const Json& format) {
  const std::string type = get<std::string>(format, "type").value_or("");
  if (type == "json_object") return slice::JsonGrammar::any_object();
  if (type != "json_schema")
    refuse("response_format.type", "want text, json_object or json_schema");
  const Json* wrapper = find(format, "json_schema");
  if (wrapper == nullptr || !wrapper->is_object())
    refuse("response_format.json_schema", "want an object with a 'schema'");
  const Json* schema = find(*wrapper, "schema");
  if (schema == nullptr) refuse("response_format.json_schema.schema", "is missing");
  try {
    return slice::JsonGrammar::of_schema(text_of(*schema));
  } catch (const slice::FormatError& error) {
    refuse("response_format.json_schema", error.what());
  }
}

}  // namespace

slice::Constraint read_response_format(const Json& body, const ServedModel& model, int64_t texts) {
  const Json* format = find(body, "response_format");
  if (format == nullptr) return {};
  if (!format->is_object()) refuse("response_format", "want an object");
  if (get<std::string>(*format, "type") == "text") return {};
  const slice::JsonGrammar grammar = read_grammar(*format);
  if (model.tokenizer->eos_tokens().empty())
    refuse("response_format", "the model has no end token to end JSON with");
  const auto state = std::make_shared<JsonTexts>(grammar, model, texts);
  return [state](int64_t index, std::span<const int64_t> written, at::Tensor& logits) {
    state->constrain(index, written, logits);
  };
}

}  // namespace serve
