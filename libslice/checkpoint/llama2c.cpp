#include "libslice/checkpoint/llama2c.h"

#include <ATen/ops/empty.h>

#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/detail/split_halves.h"

namespace slice {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied byte by byte");

using Header = std::array<int32_t, 7>;
// "ak42": versions 1 and 2 of the format, whose header has 256 bytes.
constexpr int32_t kVersionedMagic = 0x616b3432;
constexpr const char* kQuery = ".self_attn.q_proj.weight";
constexpr const char* kKey = ".self_attn.k_proj.weight";

ModelConfig parse_header(const Header& header, const std::string& origin) {
  SLICE_FORMAT_CHECK(
      header[0] != kVersionedMagic,
      "{}: a versioned llama2.c file is not supported: want the legacy float32 layout (version 0)",
      origin);
  ModelConfig c;
  c.family = "llama";
  c.hidden_size = header[0];
  c.ffn_size = header[1];
  c.layers = header[2];
  c.heads = header[3];
  c.kv_heads = header[4];
  c.vocabulary_size = std::abs(int64_t{header[5]});
  c.context_length = header[6];
  c.tied_head = header[5] > 0;
  SLICE_FORMAT_CHECK(c.heads > 0 && c.hidden_size % c.heads == 0,
                     "{}: hidden_size {} is not a multiple of {} heads", origin, c.hidden_size,
                     c.heads);
  c.head_size = c.hidden_size / c.heads;
  c.norm_eps = 1e-5;  // run.c
  c.rope_theta = 10000.0;
  c.bos_token = 1;
  c.eos_tokens = {2};
  check_config(c, origin);
  return c;
}

}  // namespace

Llama2cFile::Llama2cFile(const std::filesystem::path& path) : file_(path) {
  const std::string origin = path.string();
  Header header;
  SLICE_FORMAT_CHECK(file_.size() >= sizeof header, "{}: {} bytes, too short for a llama2.c file",
                     origin, file_.size());
  file_.read(header.data(), 0, sizeof header);
  config_ = parse_header(header, origin);

  const ModelConfig& c = config_;
  uint64_t at = sizeof header;  // cannot overflow: check_config bounds every factor
  const auto place = [&](const std::string& name, const std::vector<int64_t>& shape) {
    shapes_[name] = shape;
    offsets_[name] = at;
    uint64_t size = sizeof(float);
    for (const int64_t extent : shape) size *= static_cast<uint64_t>(extent);
    at += size;
  };
  const auto place_layers = [&](const char* name, const std::vector<int64_t>& shape) {
    for (int64_t layer = 0; layer < c.layers; ++layer)
      place(detail::formatted("model.layers.{}{}", layer, name), shape);
  };
  const int64_t D = c.hidden_size, F = c.ffn_size, kv = c.kv_heads * c.head_size;
  place("model.embed_tokens.weight", {c.vocabulary_size, D});
  place_layers(".input_layernorm.weight", {D});
  place_layers(kQuery, {D, D});
  place_layers(kKey, {kv, D});
  place_layers(".self_attn.v_proj.weight", {kv, D});
  place_layers(".self_attn.o_proj.weight", {D, D});
  place_layers(".post_attention_layernorm.weight", {D});
  place_layers(".mlp.gate_proj.weight", {F, D});
  place_layers(".mlp.down_proj.weight", {D, F});
  place_layers(".mlp.up_proj.weight", {F, D});
  place("model.norm.weight", {D});
  // Cosines and sines, (context, d/2) each.
  at += static_cast<uint64_t>(c.context_length * c.head_size) * sizeof(float);
  if (!c.tied_head) place("lm_head.weight", {c.vocabulary_size, D});
  SLICE_FORMAT_CHECK(file_.size() == at, "{}: {} bytes, its header says {}", origin, file_.size(),
                     at);
}

at::Tensor Llama2cFile::read(const std::string& name) const {
  const auto found = shapes_.find(name);
  SLICE_FORMAT_CHECK(found != shapes_.end(), "{}: no tensor is called {}", file_.path().string(),
                     name);
  at::Tensor tensor = at::empty(found->second, at::kFloat);
  const uint64_t begin = offsets_.at(name);
  file_.read(tensor.mutable_data_ptr(), begin, begin + tensor.nbytes());
  if (name.ends_with(kQuery)) return detail::split_halves(tensor, config_.heads);
  if (name.ends_with(kKey)) return detail::split_halves(tensor, config_.kv_heads);
  return tensor;
}

}  // namespace slice
