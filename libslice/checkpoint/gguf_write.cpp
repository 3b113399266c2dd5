#include "libslice/checkpoint/gguf_write.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/base/detail/unite.h"
#include "libslice/checkpoint/detail/gguf_metadata.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/checkpoint/stored_tensors.h"
#include "libslice/format/gguf_header.h"
#include "libslice/format/quantise_q8.h"
#include "libslice/format/write_tensor.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/gguf_architectures.h"
#include "libslice/model/families/gguf_names.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/gguf_xielu.h"
#include "libslice/text/bpe.h"
#include "libslice/text/sources/tokenizer_gguf_write.h"

namespace slice {

using at::Tensor;

namespace {

/// The numbers of a type in a tensor table and in general.file_type, and of what it is made.
struct TypeNumbers {
  GgufType type;
  at::ScalarType dtype;  // of a number, if it is not Q8_0
  int32_t tensor_type;
  uint32_t file_type;
};
constexpr TypeNumbers kTypes[] = {{GgufType::kFloat32, at::kFloat, 0, 0},
                                  {GgufType::kFloat16, at::kHalf, 1, 1},
                                  {GgufType::kBFloat16, at::kBFloat16, 30, 32},
                                  {GgufType::kQ8_0, at::kHalf, 8, 7}};

const TypeNumbers& numbers_of(GgufType type) {
  return *std::ranges::find(kTypes, type, &TypeNumbers::type);
}

GgufType type_of(at::ScalarType dtype) {
  const auto* found = std::ranges::find(kTypes, dtype, &TypeNumbers::dtype);
  SLICE_CHECK_AS(DtypeError, found != std::end(kTypes),
                 "GGUF: want float32, float16 or bfloat16, got {}", detail::dtype_name(dtype));
  return found->type;
}

/// llama.cpp's architecture for a dense model, or why it has none: what its family's own lacks.
struct Choice {
  const models::GgufArchitecture* architecture = nullptr;
  std::string refusal;
};

Choice choose(const ModelConfig& dense) {
  Choice choice;
  for (const models::GgufArchitecture* candidate : models::gguf_architectures(dense.family)) {
    const auto refusal = models::gguf_refusal(*candidate, dense);
    if (!refusal) return {candidate, ""};
    if (choice.refusal.empty()) choice.refusal = *refusal;
  }
  return choice;
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

/// One tensor as it is in the file.
struct Stored {
  std::string name;
  std::vector<int64_t> shape;
  GgufType type;

  uint64_t bytes() const {
    const auto count = static_cast<uint64_t>(c10::multiply_integers(shape));
    if (type == GgufType::kQ8_0) return count / detail::kQ8Block * detail::kQ8BlockBytes;
    return count * c10::elementSize(numbers_of(type).dtype);
  }
};

/// A tensor's type in a file of `matrices`. A router is small and chooses: llama.cpp keeps it whole.
GgufType stored_type(const std::string& name, const std::vector<int64_t>& shape,
                     GgufType matrices) {
  if (shape.size() == 1 || name.ends_with(".ffn_gate_inp.weight")) return GgufType::kFloat32;
  if (matrices == GgufType::kQ8_0 && shape.back() % detail::kQ8Block != 0)
    return GgufType::kFloat16;
  return matrices;
}

/// Writes the data of the tensors of a file, which come in the order of the file; of a stack one
/// slice (1, …) after the other.
class DataWriter {
 public:
  DataWriter(const std::vector<Stored>& tensors, detail::OutputFile& out)
      : next_(tensors.begin()), out_(out) {}

  void write(const Tensor& tensor, const std::string& where) {
    std::vector<int64_t> want = next_->shape;
    const bool slice = tensor.dim() == 3;
    if (slice) want[0] = 1;
    SLICE_CHECK(tensor.sizes() == at::IntArrayRef(want), "{}: want {}, got {}", where,
                detail::describe(want), detail::describe(tensor));
    if (next_->type == GgufType::kQ8_0) {
      detail::write_q8(out_, tensor, where);
    } else {
      detail::write_tensor(out_, tensor, numbers_of(next_->type).dtype, where);
    }
    if (slice && ++slices_ < next_->shape[0]) return;
    const std::string zeros(detail::GgufHeader::padding(next_->bytes()), '\0');
    out_.write(zeros.data(), zeros.size());
    ++next_;
    slices_ = 0;
  }

 private:
  std::vector<Stored>::const_iterator next_;
  int64_t slices_ = 0;  // written of a stack
  detail::OutputFile& out_;
};

using Weights = std::vector<WrittenWeights::Entry>;

/// Constants that files keep in lists, float32: these become metadata, and the others are left.
Weights write_lists(const ModelConfig& form, const WrittenWeights& weights,
                    detail::GgufHeader& header) {
  std::set<std::string> listed;
  for (const models::GgufList& list : models::gguf_lists(form)) {
    std::vector<float> values;
    for (const std::string& parameter : list.parameters) {
      values.push_back(weights.read(parameter).to(at::kFloat).item<float>());
      listed.insert(parameter);
    }
    header.reals(list.key, values);
  }
  Weights left = weights.entries();
  std::erase_if(left, [&](const auto& entry) { return listed.contains(entry.name); });
  return left;
}

/// Parts of one tensor after each other, so that of a layer's experts one is held at a time.
Weights by_tensor(Weights weights, const StoredTensors::FormOf& form_of) {
  std::map<std::string, size_t> first;  // of a tensor's parts
  std::map<std::string, size_t> place;
  for (size_t i = 0; i < weights.size(); ++i)
    place[weights[i].name] = first.emplace(form_of(weights[i].name).tensor, i).first->second;
  std::ranges::stable_sort(weights, {}, [&](const auto& entry) { return place.at(entry.name); });
  return weights;
}

}  // namespace

std::optional<std::string> gguf_obstacle(const ModelConfig& config) {
  if (models::gguf_architectures(config.family).empty())
    return detail::formatted("libslice writes no {} for llama.cpp", config.family);
  const std::optional<ModelConfig> dense = dense_config(config);
  if (!dense)
    return "llama.cpp runs a sliced model only without shortcuts, with every site of one size and "
           "a head of its own";
  const Choice choice = choose(*dense);
  return choice.architecture ? std::nullopt : std::optional(choice.refusal);
}

std::string gguf_architecture(const ModelConfig& config) {
  return gguf_obstacle(config) ? "" : choose(*dense_config(config)).architecture->name;
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
  const models::GgufArchitecture& architecture = *choose(form).architecture;
  const GgufType matrices = options.type ? *options.type : type_of(model.stored_dtype());
  const detail::Stopwatch clock;

  detail::GgufHeader header;
  header.text("general.architecture", architecture.name);
  header.text("general.name", options.name.empty() ? path.stem().string() : options.name);
  header.number("general.file_type", numbers_of(matrices).file_type);
  detail::write_gguf_metadata(architecture, form, header);
  write_tokenizer(model, form, header);

  const WrittenWeights weights(model.decoder(), form);
  const auto form_of = [&](const std::string& parameter) {
    return models::gguf_form(architecture, form, parameter);
  };
  const Weights written = by_tensor(write_lists(form, weights, header), form_of);
  StoredTensors tensors(written, form_of);
  std::vector<Stored> stored;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    if (!stored.empty() && stored.back().name == name) {
      ++stored.back().shape[0];  // the next slice of a stack
    } else {
      stored.emplace_back(name, shape, stored_type(name, shape, matrices));
    }
  };
  for (const auto& [name, shape] : tensors.slots()) add(name, shape);
  const auto factors = models::gguf_rope_tensors(form);
  for (const auto& [name, values] : factors) add(name, values.sizes().vec());
  for (const Stored& tensor : stored)
    header.tensor(tensor.name, tensor.shape, numbers_of(tensor.type).tensor_type, tensor.bytes());

  detail::AtomicFile file(path, options.replace);
  const std::string begin = header.bytes();
  file.out().write(begin.data(), begin.size());
  const auto count = std::ssize(written);
  DataWriter data(stored, file.out());
  for (int64_t i = 0; i < count; ++i) {
    const std::string& name = written[i].name;
    if (const auto complete = tensors.add(name, weights.read(name)))
      data.write(complete->second, detail::formatted("{}: {}", path.string(), name));
    if (on_progress)
      on_progress({.phase = "save", .step = i + 1, .steps = count, .seconds = clock.seconds()});
  }
  for (const auto& [name, values] : factors) data.write(values, name);
  file.commit();
}

}  // namespace slice
