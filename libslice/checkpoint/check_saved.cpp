#include "libslice/checkpoint/check_saved.h"

#include <ATen/ATen.h>

#include <cstring>
#include <map>
#include <string>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/checkpoint/stored_tensors.h"
#include "libslice/format/safetensors.h"
#include "libslice/model/decoder.h"

namespace slice {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

/// The tensors of all shards, by name.
class SavedTensors {
 public:
  explicit SavedTensors(const fs::path& directory) : directory_(directory.string()) {
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().extension() != ".safetensors") continue;
      const SafetensorsFile file(entry.path());
      for (const auto& [name, tensor] : file.tensors())
        SLICE_FORMAT_CHECK(files_.emplace(name, file).second, "{}: {} is in two files", directory_,
                           name);
    }
  }

  /// Compares one, which is then known.
  void check(const std::string& name, const Tensor& want) {
    const auto found = files_.find(name);
    SLICE_FORMAT_CHECK(found != files_.end(), "{}: {} is missing", directory_, name);
    const Tensor got = found->second.read(name);
    SLICE_FORMAT_CHECK(got.scalar_type() == want.scalar_type() && got.sizes() == want.sizes(),
                       "{}: {}: want {}, got {}", directory_, name, detail::describe(want),
                       detail::describe(got));
    SLICE_FORMAT_CHECK(got.numel() == 0 || std::memcmp(got.const_data_ptr(), want.const_data_ptr(),
                                                       got.nbytes()) == 0,
                       "{}: {}: its values are not those of the model", directory_, name);
    files_.erase(found);
  }

  void check_no_more() const {
    SLICE_FORMAT_CHECK(files_.empty(), "{}: {} is not the model's", directory_,
                       files_.begin()->first);
  }

 private:
  std::string directory_;
  std::map<std::string, SafetensorsFile> files_;  // of each tensor that was not compared yet
};

}  // namespace

void check_saved(const Model& model, const fs::path& directory,
                 std::optional<at::ScalarType> dtype) {
  const at::NoGradGuard no_grad;
  const at::ScalarType stored_dtype = dtype.value_or(model.stored_dtype());
  const ModelConfig form = written_config(model.config());
  const WrittenWeights weights(model.decoder(), form);
  StoredTensors stored(weights.entries(), form);
  SavedTensors saved(directory);
  for (const auto& entry : weights.entries()) {
    const auto tensor = stored.add(entry.name, weights.read(entry.name));
    if (tensor) saved.check(tensor->first, tensor->second.to(stored_dtype).cpu().contiguous());
  }
  saved.check_no_more();
}

}  // namespace slice
