#include "libslice/checkpoint/checkpoint.h"

#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file_kind.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/checkpoint/detail/directory_checkpoint.h"
#include "libslice/checkpoint/detail/foreign_model.h"
#include "libslice/checkpoint/detail/gguf_checkpoint.h"
#include "libslice/checkpoint/llama2c.h"

namespace slice {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

class Llama2cCheckpoint : public Checkpoint {
 public:
  explicit Llama2cCheckpoint(const fs::path& path) : file_(path) {
    path_ = path;
    config_ = file_.config();
    for (const auto& [name, shape] : file_.tensors())
      entries_[name] = {.shape = shape, .dtype = at::kFloat};
  }
  Tensor read(const std::string& name) const override { return file_.read(name); }

 private:
  Llama2cFile file_;
};

/// Refuses what is neither a GGUF file nor a llama2.c one.
void check_llama2c(const detail::InputFile& file) {
  const std::string kind = detail::file_kind(file);
  SLICE_FORMAT_CHECK(kind.empty() && file.path().extension() == ".bin",
                     "{}: want a Hugging Face directory, a GGUF file or a llama2.c .bin{}{}",
                     file.path().string(), kind.empty() ? "" : "; this is ", kind);
}

}  // namespace

std::unique_ptr<Checkpoint> open_checkpoint(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) detail::refuse_missing(path, error);
  if (fs::is_directory(status)) return std::make_unique<detail::DirectoryCheckpoint>(path);
  const detail::InputFile file(path);
  if (file.head().starts_with("GGUF")) return std::make_unique<detail::GgufCheckpoint>(path);
  check_llama2c(file);
  return std::make_unique<Llama2cCheckpoint>(path);
}

ModelConfig read_config(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    return detail::holds_weights(path) ? open_checkpoint(path)->config()
                                       : detail::directory_config(path);
  }
  return path.extension() == ".json" ? detail::config_of_file(path)
                                     : open_checkpoint(path)->config();
}

std::optional<at::ScalarType> stored_dtype(const Checkpoint& checkpoint) {
  std::optional<at::ScalarType> dtype;
  for (const auto& [name, entry] : checkpoint.tensors()) {
    if (entry.quantised) return std::nullopt;
    if (entry.shape.size() != 2 || !at::isFloatingType(entry.dtype)) continue;
    if (!dtype || name.find("embed") != std::string::npos) dtype = entry.dtype;
  }
  return dtype == at::kDouble ? at::kFloat : dtype;  // models are saved in float32 at most
}

}  // namespace slice
