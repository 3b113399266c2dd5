#include "libslice/decode/generator.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/decoding.h"
#include "libslice/decode/detail/divided_decoding.h"
#include "libslice/decode/detail/divided_devices.h"
#include "libslice/decode/detail/kernel_network.h"
#include "libslice/decode/detail/stop_token.h"
#include "libslice/decode/divided_model.h"
#include "libslice/device/detail/last_stream.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

bool decodes_captured(const ModelConfig& config) {
  return detail::runs_on_kernels(config) && config.head_size <= detail::kLargestDecodeHead;
}

Generator::Generator(const Model& model, int64_t capacity, int64_t batch)
    : model_(std::make_shared<Model>(model.share())),
      cache_(std::make_unique<KvCache>(
          model.config(), batch, capacity,
          at::TensorOptions().device(model.decoder().device()).dtype(model.decoder().dtype()))),
      stream_(std::make_unique<detail::LastStream>(model.decoder().device())) {}

Generator::Generator(const DividedModel& model, int64_t capacity, int64_t batch)
    : model_(std::make_shared<Model>(model.whole().share())),
      parts_(model.parts()),
      stream_(std::make_unique<detail::LastStream>(model.devices()[0])) {
  parts_->run([&](int64_t rank) {
    if (rank > 0) return;
    const DecoderImpl& first = parts_->decoder(0);
    cache_ = std::make_unique<KvCache>(first.config(), batch, capacity,
                                       at::TensorOptions(first.device()).dtype(first.dtype()));
  });
}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;

detail::Decoding& Generator::decoding() {
  if (!decoding_)
    decoding_ = parts_ ? detail::make_divided_decoding(*parts_, *cache_)
                       : detail::make_decoding(model_->decoder(), *cache_);
  return *decoding_;
}

bool Generator::runs_captured() { return decoding().is_captured(); }

void Generator::check_room(int64_t T) const {
  SLICE_ARGUMENT_CHECK(length() + T <= cache_->capacity(),
                       "generator: {} positions do not fit into {}", length() + T,
                       cache_->capacity());
}

Tensor Generator::feed(const Tensor& tokens) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.size(0) == cache_->batch() && tokens.size(1) > 0,
              "generator: want ({}, T) tokens, got {}", cache_->batch(), detail::describe(tokens));
  check_room(tokens.size(1));
  stream_->note();
  logits_ = decoding().feed(tokens);
  return logits_;
}

Tensor Generator::continue_sampled(int64_t n, const SamplingOptions& sampling, uint64_t seed,
                                   uint64_t sequence) {
  SLICE_ARGUMENT_CHECK(n >= 0, "generator: want at least 0 tokens, got {}", n);
  SLICE_ARGUMENT_CHECK(logits_.defined(), "generator: nothing to continue, feed a prompt first");
  check_sampling(sampling);
  check_room(n);
  model_->decoder().check_positions(length() + n);
  const int64_t begin = length();
  stream_->note();
  try {
    return decoding().continue_inplace(logits_, n, sampling, seed, sequence);
  } catch (const NumericError&) {
    truncate(begin);
    throw;
  }
}

int64_t Generator::length() const { return cache_->length(); }

void Generator::truncate(int64_t length) {
  if (length != cache_->length()) logits_ = Tensor();
  cache_->truncate(length);
}

namespace {

// Tokens that a chain on the device is ahead of the callback at most.
constexpr int64_t kAhead = 16;

std::vector<int64_t> to_vector(const Tensor& ids) {
  const Tensor host = ids.cpu().contiguous();
  const int64_t* first = host.const_data_ptr<int64_t>();
  return {first, first + host.numel()};
}

/// @param decoder  of the model, which knows its positions
template <typename AnyModel>
std::vector<int64_t> generated(const AnyModel& model, const DecoderImpl& decoder,
                               const std::vector<int64_t>& prompt, const GenerateOptions& options,
                               const std::function<bool(int64_t)>& on_token) {
  SLICE_ARGUMENT_CHECK(!prompt.empty(), "generate: the prompt is empty");
  SLICE_ARGUMENT_CHECK(options.max_tokens >= 0, "generate: want max_tokens of at least 0, got {}",
                       options.max_tokens);
  check_sampling(options.sampling);
  std::vector<int64_t> written;
  const auto length = static_cast<int64_t>(prompt.size());
  decoder.check_positions(length);
  const int64_t room = std::min(options.max_tokens, decoder.positions() - length);
  if (room == 0) return written;
  Generator generator(model, length + room);
  /// Writes an id down; false when the text ends.
  const auto write = [&](int64_t id) {
    if (detail::is_stop(id, options)) return false;
    written.push_back(id);
    if (on_token && !on_token(id)) return false;
    return static_cast<int64_t>(written.size()) < room;
  };
  generator.feed(at::tensor(prompt, at::kLong).unsqueeze(0));
  while (true) {
    const int64_t ahead = std::min(room - static_cast<int64_t>(written.size()) - 1, kAhead);
    if (ahead > 0 && generator.runs_captured()) {
      const std::vector<int64_t> ids = to_vector(
          generator.continue_sampled(ahead, options.sampling, options.seed, options.sequence));
      if (!std::all_of(ids.begin(), ids.end(), write)) return written;
    } else {
      const int64_t id =
          sample_token(generator.logits()[0], options.sampling,
                       {options.seed, options.sequence, /*position=*/generator.length()});
      if (!write(id)) return written;
      generator.feed(at::tensor({id}, at::kLong).unsqueeze(0));
    }
  }
}

}  // namespace

std::vector<int64_t> generate(const Model& model, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options,
                              const std::function<bool(int64_t)>& on_token) {
  return generated(model, model.decoder(), prompt, options, on_token);
}

std::vector<int64_t> generate(const DividedModel& model, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options,
                              const std::function<bool(int64_t)>& on_token) {
  return generated(model, model.whole().decoder(), prompt, options, on_token);
}

}  // namespace slice
