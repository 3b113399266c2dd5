#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "libslice/base/progress.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/shard_writer.h"
#include "libslice/model/config.h"
#include "libslice/text/tokenizer.h"

namespace torch::nn {
class Module;
}

namespace slice {

class DecoderImpl;

struct LoadOptions {
  at::Device device = at::kCPU;
  /// Of the weights and of what is computed with them. When absent: float32 on the CPU; on a GPU
  /// the stored dtype, for quantised files float16 if every weight fits, else bfloat16.
  std::optional<at::ScalarType> dtype = std::nullopt;
};

/// A language model in memory: its decoder (a torch::nn module tree with Hugging Face names), its
/// tokenizer, and where it came from. It can be moved, not copied, since slicing changes the weights
/// in place: a second handle on them is asked for by name.
///
/// Any number of threads may read and run it, each by a Generator or Batch of its own, but nobody
/// while it is sliced, nor while a GPU's weights are laid out anew: by the first feed of the first
/// Generator, or the constructor of the first Batch or Engine.
class Model {
 public:
  /// @param stored_dtype  what `save_model` writes unless told otherwise; absent for a quantised
  ///                      source
  Model(std::shared_ptr<DecoderImpl> decoder, std::shared_ptr<const Tokenizer> tokenizer,
        std::optional<at::ScalarType> stored_dtype);

  Model(Model&&) = default;
  Model& operator=(Model&&) = default;
  /// Another handle on the same weights, which keeps them alive; slicing either changes both.
  Model share() const { return *this; }

  DecoderImpl& decoder() const { return *decoder_; }
  const ModelConfig& config() const;
  /// @throws FormatError  the model came without a tokenizer that libslice can read (says why)
  const Tokenizer& tokenizer() const;
  bool has_tokenizer() const { return tokenizer_ != nullptr; }
  /// The dtype to save in: the source's own; for a quantised source float16 if every weight fits,
  /// else bfloat16.
  at::ScalarType stored_dtype() const;

  /// Why there is no tokenizer; the message of `tokenizer()`.
  std::string tokenizer_problem = "this model has no tokenizer";

 private:
  Model(const Model&) = default;

  std::shared_ptr<DecoderImpl> decoder_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<at::ScalarType> stored_dtype_;
};

/// Loads a model: a Hugging Face directory, a `.gguf`, a llama2.c `.bin`, or a directory that
/// save_model wrote. One tensor is materialised at a time: peak memory is the model and one tensor.
///
/// @throws FormatError   what open_checkpoint rejects; a tensor that is missing, misshapen or no
///                       floating-point weight (named)
/// @throws NumericError  a weight holds a NaN or Inf (named)
/// @throws DeviceError   no such device
Model load_model(const std::filesystem::path& path, const LoadOptions& options = {});

/// The same of a checkpoint that is open, with a tokenizer or none.
Model load_model(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer,
                 const LoadOptions& options = {});

/// The model of a checkpoint without memory for its weights: its sizes and its tokenizer.
Model model_without_weights(const Checkpoint& checkpoint);

/// Fills a module from a checkpoint by walking named_parameters(): the one place where weights are
/// loaded.
/// @throws FormatError, NumericError  as load_model
void load_parameters(torch::nn::Module& module, const Checkpoint& checkpoint, at::Device device,
                     at::ScalarType dtype);

/// Checks a checkpoint's keys, dtypes and shapes against a module's, before anything is read.
/// @throws FormatError  a tensor that is missing, misshapen or no floating-point weight (named)
void check_entries(const torch::nn::Module& module, const Checkpoint& checkpoint);

struct SaveOptions {
  std::optional<at::ScalarType> dtype = std::nullopt;  ///< Model::stored_dtype() when absent
  bool replace = false;               ///< whether an existing directory is replaced or an error
  int64_t shard_bytes = kShardBytes;  ///< of the largest safetensors file
};

/// Checks that a model's weights are those that its configuration describes.
/// @throws ShapeError  they are not: slicing was interrupted (names the first weight)
void check_whole(const Model& model);

/// Saves a model as a Hugging Face directory: safetensors shards with their index, config.json,
/// generation_config.json, tokenizer files. Where stock_config() (stock.h) has a form for it, this
/// is a dense model that unmodified Transformers loads; else a sliced one, with the size of every
/// site in config.json and a modeling_sliced_<family>.py that Transformers loads with
/// trust_remote_code. Written next to `directory` and renamed at the end.
/// @throws ShapeError    weights that no configuration describes: slicing was interrupted
/// @throws Error         the directory exists, no permission, no space left; no trace of it remains
/// @throws NumericError  a weight overflows the dtype (named)
void save_model(const Model& model, const std::filesystem::path& directory,
                const SaveOptions& options = {}, const OnProgress& on_progress = {});

/// Warns of tokens of a tokenizer that have no row in the embedding, which a model cannot read.
void warn_of_tokens_without_row(const Tokenizer& tokenizer, int64_t rows, const std::string& file);

/// Writes everything but the weights: config.json, generation_config.json, the modeling file unless
/// the form is a stock one, the files of the tokenizer where there is one. The first two name the
/// end tokens of form and tokenizer together.
void write_description(const ModelConfig& form, at::ScalarType dtype, const Tokenizer* tokenizer,
                       const std::filesystem::path& directory);

/// save_model into a directory that exists: for callers that add files of their own before an
/// AtomicDirectory is committed.
void write_model(const Model& model, const std::filesystem::path& directory,
                 const SaveOptions& options = {}, const OnProgress& on_progress = {});

}  // namespace slice
