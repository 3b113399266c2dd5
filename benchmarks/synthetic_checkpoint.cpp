// synthetic_checkpoint CONFIG --out DIR: random weights in the shape of a config.json, so that
// speed and memory at a published model's size can be measured without its weights. One tensor is
// in memory at a time.

#include <ATen/ATen.h>
#include <fmt/core.h>

#include <cmath>
#include <cstdio>

#include "examples/cli.h"
#include "libslice/base/atomic_directory.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/base/error.h"
#include "libslice/checkpoint/shard_writer.h"
#include "libslice/checkpoint/stored_tensors.h"
#include "libslice/device/device.h"
#include "libslice/method/plan.h"
#include "libslice/model/config_json.h"
#include "libslice/model/decoder.h"
#include "libslice/text/bpe.h"

namespace {

using at::Tensor;

/// The 256 bytes and the space, and names for the other ids: any text can be read, and any id
/// written.
std::shared_ptr<const slice::Tokenizer> byte_tokenizer(int64_t vocabulary_size) {
  if (vocabulary_size < 257)
    throw slice::ArgumentError(
        fmt::format("vocab_size: want at least 257, got {}", vocabulary_size));
  slice::BpeDefinition definition;
  definition.source = "bytes";
  definition.alphabet = slice::BpeDefinition::Alphabet::kCharacters;
  definition.byte_fallback = true;
  definition.space_mark = "▁";
  for (int byte = 0; byte < 256; ++byte)
    definition.tokens.push_back(fmt::format("<0x{:02X}>", byte));
  definition.tokens.push_back(definition.space_mark);
  while (static_cast<int64_t>(definition.tokens.size()) < vocabulary_size)
    definition.tokens.push_back(fmt::format("<{}>", definition.tokens.size()));
  return slice::make_bpe_tokenizer(std::move(definition));
}

/// Values of the size that training gives: streams and logits of the size of one, norms near one.
Tensor random_parameter(const std::string& name, at::IntArrayRef shape, at::Device device) {
  const Tensor noise = at::randn(shape, at::TensorOptions(device).dtype(at::kFloat));
  if (name.ends_with("bias")) return 0.02 * noise;
  if (name.ends_with("norm.weight")) return 1 + 0.1 * noise;
  return noise / std::sqrt(static_cast<double>(shape.back()));
}

}  // namespace

int main(int argc, char** argv) {
  std::string config_path, out, dtype = "fp16";
  std::optional<at::Device> wanted_device;
  int64_t layers = 0;
  uint64_t seed = 0;
  CLI::App app("Writes a checkpoint of random weights.", "synthetic_checkpoint");
  app.add_option("CONFIG", config_path, "config.json, or a directory that holds one")->required();
  app.add_option("--out", out, "directory to write")->required();
  app.add_option("--layers", layers, "instead of the configuration's");
  app.add_option("--dtype", dtype, "fp16, bf16 or fp32")
      ->check(CLI::IsMember({"fp16", "bf16", "fp32"}));
  app.add_option("--seed", seed, "of the random numbers");
  cli::add_device_option(app, wanted_device);
  return cli::run(app, argc, argv, [&] {
    slice::ModelConfig config = slice::read_config(config_path);
    if (layers > 0) config.layers = layers;
    config.bos_token.reset();  // bytes have none
    config.eos_tokens.clear();
    slice::check_config(config, config_path);
    const at::Device device = slice::choose_device(wanted_device);
    const at::ScalarType stored = *cli::dtype_option(dtype);
    at::manual_seed(seed);

    const slice::DecoderImpl shapes(config);  // holds no memory
    std::vector<slice::WrittenForm::Entry> parameters;
    for (const auto& parameter : shapes.named_parameters())
      parameters.push_back({parameter.key(), parameter.value().sizes().vec()});
    slice::StoredTensors tensors(parameters, config);
    slice::AtomicDirectory directory(out, /*replace=*/false);
    slice::ShardWriter writer(directory.path(), tensors.slots(), stored);
    for (const auto& [name, shape] : parameters) {
      cli::check_interrupted();
      const auto tensor = tensors.add(name, random_parameter(name, shape, device).to(at::kCPU));
      if (tensor) writer.write(tensor->first, tensor->second.to(stored));
    }
    writer.finish();
    const auto write = [&](const std::string& name, const std::string& text) {
      slice::detail::write_file(directory.path() / name, text);
    };
    write("config.json", slice::config_json(config, slice::detail::dtype_name(stored)));
    write("generation_config.json", slice::generation_config_json(config));
    for (const auto& file : byte_tokenizer(config.vocabulary_size)->files())
      write(file.name, file.bytes);
    directory.commit();
    std::printf("%s: %s parameters\n", out.c_str(),
                cli::grouped(slice::count_parameters(config).total).c_str());
  });
}
