#include "libslice/checkpoint/gguf_write.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/base/detail/unite.h"
#include "libslice/checkpoint/detail/split_halves.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/format/gguf_header.h"
#include "libslice/format/write_tensor.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/rotary.h"
#include "libslice/text/bpe.h"
#include "libslice/text/sources/tokenizer_gguf_write.h"

namespace slice {

using at::Tensor;

namespace {

constexpr const char* kFrequencyDivisors = "rope_freqs.weight";

/// The numbers of a dtype in a tensor table and in general.file_type.
struct GgufDtype {
  at::ScalarType dtype;
  int32_t tensor_type;
  uint32_t file_type;
};
constexpr GgufDtype kDtypes[] = {{at::kFloat, 0, 0}, {at::kHalf, 1, 1}, {at::kBFloat16, 30, 32}};

const GgufDtype& gguf_dtype(at::ScalarType dtype) {
  const auto* found = std::ranges::find(kDtypes, dtype, &GgufDtype::dtype);
  SLICE_CHECK_AS(DtypeError, found != std::end(kDtypes),
                 "GGUF: want float32, float16 or bfloat16, got {}", detail::dtype_name(dtype));
  return *found;
}

/// llama.cpp's architecture for a dense model; empty where it has none (see gguf_obstacle).
std::string architecture(const ModelConfig& dense) {
  const bool usual_heads = dense.heads * dense.head_size == dense.hidden_size;
  const bool uneven = !dense.ffn_sizes.empty();
  for (const char* strict :
       {"cohere", "gpt2", "gpt_neox", "nemotron", "olmo", "phi", "stablelm", "starcoder2"}) {
    if (dense.family == strict)
      return usual_heads && !uneven ? models::family(dense.family).gguf_architecture : "";
  }
  if (dense.family == "qwen2" && usual_heads && !uneven) return "qwen2";
  return uneven ? "deci" : "llama";
}

bool llama3_scaled(const ModelConfig& c) {
  return c.rope_scaling && c.rope_scaling->kind == RopeScaling::Kind::kLlama3;
}

void write_sizes(const ModelConfig& c, const std::string& kind, detail::GgufHeader& header) {
  const auto number = [&](const std::string& key, int64_t value) {
    constexpr int64_t kLargest = std::numeric_limits<uint32_t>::max();
    header.number(kind + "." + key, static_cast<uint32_t>(std::min(value, kLargest)));
  };
  number("block_count", c.layers);
  number("context_length", c.context_length);
  number("embedding_length", c.hidden_size);
  if (c.ffn_sizes.empty()) {
    number("feed_forward_length", c.ffn_size);
  } else {
    header.numbers(kind + ".feed_forward_length", {c.ffn_sizes.begin(), c.ffn_sizes.end()});
  }
  number("attention.head_count", c.heads);
  number("attention.head_count_kv", c.kv_heads);
  number("attention.key_length", c.head_size);
  number("attention.value_length", c.head_size);
  number("vocab_size", c.vocabulary_size);
  const bool rms = c.norm == NormKind::kRms;
  header.real(kind + (rms ? ".attention.layer_norm_rms_epsilon" : ".attention.layer_norm_epsilon"),
              static_cast<float>(c.norm_eps));
  if (kind == "command-r") header.real("command-r.logit_scale", static_cast<float>(c.logit_scale));
  if (kind == "stablelm") header.flag("stablelm.use_parallel_residual", c.parallel_block);
  if (c.sliding_window) number("attention.sliding_window", *c.sliding_window);
  number("rope.dimension_count", c.rotary_size.value_or(c.head_size));
  header.real(kind + ".rope.freq_base", static_cast<float>(c.rope_theta));
  if (c.rope_scaling && !llama3_scaled(c)) {
    header.text(kind + ".rope.scaling.type", "linear");
    header.real(kind + ".rope.scaling.factor", static_cast<float>(c.rope_scaling->factor));
  }
}

void write_tokenizer(const Model& model, const ModelConfig& c, detail::GgufHeader& header) {
  const BpeDefinition* words = model.has_tokenizer() ? bpe_definition(model.tokenizer()) : nullptr;
  SLICE_FORMAT_CHECK(words != nullptr || !model.has_tokenizer(),
                     "GGUF: no form for this kind of tokenizer");
  std::vector<int64_t> eos = words ? words->eos : c.eos_tokens;
  detail::unite_inplace(eos, c.eos_tokens);
  if (words) {
    detail::write_gguf_tokenizer(*words, c.vocabulary_size, header);
  } else {
    header.text("tokenizer.ggml.model", "no_vocab");
  }
  // llama.cpp refuses a token without a row in the embedding.
  const auto with_row = [&](std::optional<int64_t> id) {
    return id && *id < c.vocabulary_size ? id : std::nullopt;
  };
  std::erase_if(eos, [&](int64_t id) { return !with_row(id); });
  detail::write_gguf_special_tokens(
      with_row(words && words->bos ? words->bos : c.bos_token), eos,
      with_row(words && words->padding ? words->padding : c.pad_token), header);
}

/// What Llama 3's scaling divides each rotary frequency by, (d/2) float32.
Tensor frequency_divisors(const ModelConfig& c) {
  const Rotary plain(c.head_size, c.rope_theta), scaled(c.head_size, c.rope_theta, c.rope_scaling);
  return (at::tensor(plain.frequencies(), at::kDouble) /
          at::tensor(scaled.frequencies(), at::kDouble))
      .to(at::kFloat);
}

/// Heads of a weight or bias that the interleaved rotary form reorders; 0 for others.
int64_t rotated_heads(const ModelConfig& c, const std::string& name) {
  const models::Names& names = models::family(c.family).names;
  if (name.find("." + names.q + ".") != std::string::npos) return c.heads;
  return name.find("." + names.k + ".") != std::string::npos ? c.kv_heads : 0;
}

/// One tensor as it is in the file.
struct Stored {
  std::string name;
  std::vector<int64_t> shape;
  at::ScalarType dtype;
};

void write_data(const Stored& stored, const Tensor& tensor, const std::string& where,
                detail::OutputFile& out) {
  SLICE_CHECK(tensor.sizes() == at::IntArrayRef(stored.shape), "{}: want {}, got {}", where,
              detail::describe(stored.shape), detail::describe(tensor));
  detail::write_tensor(out, tensor, stored.dtype, where);
  const std::string zeros(detail::GgufHeader::padding(static_cast<uint64_t>(tensor.numel()) *
                                                      c10::elementSize(stored.dtype)),
                          '\0');
  out.write(zeros.data(), zeros.size());
}

}  // namespace

std::optional<std::string> gguf_obstacle(const ModelConfig& config) {
  const models::Family& family = models::family(config.family);
  const bool written = !family.gguf_architecture.empty() || &family == &models::mistral();
  if (!written || config.norms_outputs())
    return detail::formatted("libslice writes no {} for llama.cpp", config.family);
  const std::optional<ModelConfig> dense = dense_config(config);
  if (!dense)
    return "llama.cpp runs a sliced model only without shortcuts, with every site of one size and "
           "a head of its own";
  const std::string kind = architecture(*dense);
  if (kind.empty())
    return detail::formatted(
        "llama.cpp wants one FFN width and heads of hidden size / heads in a {}: got heads of {} "
        "in {}",
        dense->family, dense->head_size, dense->hidden_size);
  if (dense->sliding_window && dense->family != "mistral")
    return detail::formatted("llama.cpp has no sliding window in a {}", dense->family);
  if (dense->rope_scaling && dense->rope_scaling->kind != RopeScaling::Kind::kLinear &&
      !llama3_scaled(*dense))
    return "rope scaling other than linear and Llama 3's is not written for llama.cpp";
  if (kind == "gpt2" || kind == "gptneox")
    return detail::formatted(
        "in a {} llama.cpp wants q, k and v as one tensor, which libslice reads but does not write",
        dense->family);
  if (kind == "command-r" && !dense->tied_head)
    return detail::formatted("llama.cpp ties the head of a {}", dense->family);
  if (kind == "nemotron" && dense->tied_head)
    return detail::formatted("llama.cpp wants a head of its own in a {}", dense->family);
  if (dense->qkv_bias && (kind == "olmo" || kind == "command-r"))
    return detail::formatted("llama.cpp has no biases in an {}", dense->family);
  if (llama3_scaled(*dense) && kind != "llama" && kind != "deci")
    return detail::formatted("llama.cpp has no Llama 3 rope scaling in a {}", dense->family);
  const bool gelu = kind == "phi2" || kind == "starcoder2";
  const Activation plain = kind == "nemotron" ? Activation::kRelu2 : Activation::kSilu;
  if (dense->activation != (gelu ? Activation::kGeluTanh : plain))
    return detail::formatted("llama.cpp has no such activation in a {}", dense->family);
  return std::nullopt;
}

std::string gguf_architecture(const ModelConfig& config) {
  return gguf_obstacle(config) ? "" : architecture(*dense_config(config));
}

std::optional<std::string> gguf_obstacle(const Tokenizer& tokenizer, int64_t vocabulary_size) {
  const BpeDefinition* words = bpe_definition(tokenizer);
  if (words == nullptr) return "llama.cpp has no form for this kind of tokenizer";
  try {
    detail::GgufHeader header;
    detail::write_gguf_tokenizer(*words, vocabulary_size, header);
  } catch (const FormatError& error) {
    return error.what();
  }
  return std::nullopt;
}

void check_gguf_path(const std::filesystem::path& path, bool replace) {
  detail::AtomicFile(path, replace);
}

void save_gguf(const Model& model, const std::filesystem::path& path, const GgufOptions& options,
               const OnProgress& on_progress) {
  const std::optional<std::string> obstacle = gguf_obstacle(model.config());
  SLICE_FORMAT_CHECK(!obstacle, "{}: {}", path.string(), obstacle.value_or(""));
  check_whole(model);
  const ModelConfig form = *dense_config(model.config());
  const std::string kind = architecture(form);
  const GgufDtype& matrices = gguf_dtype(options.dtype.value_or(model.stored_dtype()));
  const detail::Stopwatch clock;

  detail::GgufHeader header;
  header.text("general.architecture", kind);
  header.text("general.name", options.name.empty() ? path.stem().string() : options.name);
  header.number("general.file_type", matrices.file_type);
  write_sizes(form, kind, header);
  write_tokenizer(model, form, header);

  const WrittenWeights weights(model.decoder(), form);
  std::vector<Stored> stored;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    const GgufDtype& dtype = shape.size() == 1 ? gguf_dtype(at::kFloat) : matrices;
    stored.push_back({name, shape, dtype.dtype});
    header.tensor(
        name, shape, dtype.tensor_type,
        static_cast<uint64_t>(c10::multiply_integers(shape)) * c10::elementSize(dtype.dtype));
  };
  for (const auto& [name, shape] : weights.entries())
    add(models::gguf_name(models::family(form.family).names, name), shape);
  if (llama3_scaled(form)) add(kFrequencyDivisors, {form.head_size / 2});

  detail::AtomicFile file(path, options.replace);
  const std::string begin = header.bytes();
  file.out().write(begin.data(), begin.size());
  const auto count = std::ssize(weights.entries());
  for (int64_t i = 0; i < count; ++i) {
    const std::string& name = weights.entries()[i].name;
    const int64_t heads = models::gguf_interleaves(kind) ? rotated_heads(form, name) : 0;
    const Tensor tensor = weights.read(name);
    write_data(stored[i], heads > 0 ? detail::interleave_halves(tensor, heads) : tensor,
               detail::formatted("{}: {}", path.string(), name), file.out());
    if (on_progress)
      on_progress({.phase = "save", .step = i + 1, .steps = count, .seconds = clock.seconds()});
  }
  if (llama3_scaled(form))
    write_data(stored.back(), frequency_divisors(form), kFrequencyDivisors, file.out());
  file.commit();
}

}  // namespace slice
