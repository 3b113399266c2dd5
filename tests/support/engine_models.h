#pragma once

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "libslice/decode/engine.h"
#include "libslice/model/decoder.h"
#include "libslice/text/incremental_decoder.h"
#include "tests/support/gpu_model.h"
#include "tests/support/letter_tokenizer.h"
#include "tests/support/tiny_model.h"

namespace slice::tests {

inline std::shared_ptr<const Model> shared_model(uint64_t seed = 1,
                                                 const ModelConfig& config = tiny_config()) {
  return std::make_shared<const Model>(random_model(config, seed, at::kFloat));
}

/// The same on a GPU; the test has seen to that there is one.
inline std::shared_ptr<const Model> model_on_gpu() {
  return std::make_shared<const Model>(on_gpu(tiny_config(), at::kFloat));
}

/// An engine of one model named "tiny", whose tokens are letters.
inline EngineOptions one_model(std::shared_ptr<const Model> model, int64_t slots = 4,
                               int64_t capacity = 96, std::vector<int64_t> ends = {}) {
  const int64_t V = model->config().vocabulary_size;
  EngineOptions options;
  options.models = {{.name = "tiny",
                     .model = std::move(model),
                     .tokenizer = std::make_shared<LetterTokenizer>(V, std::move(ends)),
                     .slots = slots,
                     .capacity = capacity}};
  return options;
}

/// Requests that differ in everything.
inline Request some_request(const Model& model, int64_t i) {
  const at::Tensor tokens =
      random_tokens(model.config(), 1, 3 + i % 17, static_cast<uint64_t>(i) + 1);
  const int64_t* first = tokens.const_data_ptr<int64_t>();
  Request request;
  request.prompt = {first, first + tokens.numel()};
  request.options.max_tokens = 1 + (7 * i) % 29;
  request.options.seed = static_cast<uint64_t>(i / 2);
  if (i % 3 != 0)
    request.options.sampling = {.temperature = 0.6 + 0.2 * static_cast<double>(i % 4),
                                .top_p = i % 2 == 0 ? 1 : 0.9};
  return request;
}

/// What generate() makes of text `index` of a request: its ids.
inline std::vector<int64_t> generated(const Model& model, const Request& request,
                                      uint64_t index = 0) {
  GenerateOptions options = request.options;
  options.sequence += index;
  return generate(model, request.prompt, options);
}

/// The text of ids after a prompt.
inline std::string text_of(const Tokenizer& tokenizer, const std::vector<int64_t>& prompt,
                           const std::vector<int64_t>& ids) {
  IncrementalDecoder decoder(tokenizer, prompt);
  std::string text;
  for (const int64_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

/// A request that keeps an engine's thread at its first token until `open` is called, and the
/// promise to wait for it there.
class Gate {
 public:
  Request request(std::vector<int64_t> prompt = {1, 2}) {
    Request request;
    request.prompt = std::move(prompt);
    request.options.max_tokens = 1;
    request.on_piece = [this](const TextPiece&) {
      reached_.set_value();
      opened_.get_future().wait();
    };
    return request;
  }
  void wait() { reached_.get_future().wait(); }
  void open() { opened_.set_value(); }

 private:
  std::promise<void> reached_, opened_;
};

}  // namespace slice::tests
