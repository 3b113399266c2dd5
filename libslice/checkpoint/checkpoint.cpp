#include "libslice/checkpoint/checkpoint.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/detail/split_halves.h"
#include "libslice/checkpoint/llama2c.h"
#include "libslice/format/gguf.h"
#include "libslice/format/safetensors.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"

namespace slice {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

class DirectoryCheckpoint : public Checkpoint {
 public:
  explicit DirectoryCheckpoint(const fs::path& path) {
    path_ = path;
    const fs::path index = path / "model.safetensors.index.json";
    config_ = read_config(path);
    std::error_code ignored;
    if (fs::exists(index, ignored)) {
      open_shards(index);
    } else {
      add_file("model.safetensors");
      for (const auto& [name, entry] : files_.begin()->second.tensors())
        place_[name] = files_.begin()->first;
    }
    const std::string prefix = missing_prefix();
    for (const auto& [name, file] : place_) {
      const auto& entry = files_.at(file).tensors().at(name);
      const bool headed = name.starts_with(models::family(config_.family).names.head + ".");
      const std::string key = headed ? name : prefix + name;
      stored_[key] = name;
      entries_[key] = {.shape = entry.shape, .dtype = entry.dtype};
    }
  }

  Tensor read(const std::string& name) const override {
    const auto found = stored_.find(name);
    SLICE_FORMAT_CHECK(found != stored_.end(), "{}: no tensor is called {}", path_.string(), name);
    return files_.at(place_.at(found->second)).read(found->second);
  }

 private:
  /// "model." where the file's keys lack this first step, as those of OPT's first files do; else
  /// nothing.
  std::string missing_prefix() const {
    const std::string embedding = models::family(config_.family).names.embedding + ".weight";
    const size_t step = embedding.find('.') + 1;
    return place_.contains(embedding.substr(step)) ? embedding.substr(0, step) : "";
  }

  void add_file(const std::string& name) {
    if (!files_.contains(name)) files_.emplace(name, SafetensorsFile(path_ / name));
  }

  void open_shards(const fs::path& index) {
    const std::string where = index.string();
    const auto object = detail::parse_json(detail::read_text_file(index, size_t{1} << 28), where);
    SLICE_FORMAT_CHECK(
        object.is_object() && object.contains("weight_map") && object["weight_map"].is_object(),
        "{}: weight_map is missing", where);
    for (const auto& [name, file] : object["weight_map"].items()) {
      SLICE_FORMAT_CHECK(file.is_string(), "{}: {}: want a file name", where, name);
      const auto shard = file.get<std::string>();
      SLICE_FORMAT_CHECK(!shard.empty() && shard == fs::path(shard).filename().string() &&
                             shard != "." && shard != "..",
                         "{}: {}: shard '{}' is not a plain file name", where, name, shard);
      add_file(shard);
      SLICE_FORMAT_CHECK(files_.at(shard).tensors().contains(name), "{}: {} is not in {}", where,
                         name, shard);
      place_[name] = shard;
    }
    SLICE_FORMAT_CHECK(!place_.empty(), "{}: weight_map is empty", where);
  }

  std::map<std::string, SafetensorsFile> files_;
  std::map<std::string, std::string> place_;   // tensor in its file → file
  std::map<std::string, std::string> stored_;  // tensor → its name there
};

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(const fs::path& path) : file_(path) {
    path_ = path;
    const auto architecture = file_.get<std::string>("general.architecture");
    const models::Family* family = nullptr;
    for (const models::Family* candidate : models::families()) {
      if (candidate->parse_gguf &&
          candidate->gguf_architecture == models::gguf_relative(architecture))
        family = candidate;
    }
    SLICE_FORMAT_CHECK(family != nullptr, "{}: architecture '{}' is not supported", path.string(),
                       architecture);
    interleaved_ = models::gguf_interleaves(architecture);
    config_ = family->parse_gguf(file_);
    check_config(config_, path.string());
    const auto splits = file_.get<int64_t>("split.count", 1);
    SLICE_FORMAT_CHECK(splits <= 1, "{}: one of {} files (split.count): merge them first",
                       path.string(), splits);
    for (const auto& [name, entry] : file_.tensors()) {
      for (const auto& [key, begin, end] :
           models::gguf_places(family->names, config_, name, entry.shape[0])) {
        SLICE_FORMAT_CHECK(stored_.emplace(key, Rows{name, begin, end}).second,
                           "{}: {} and {} are the same tensor", path.string(), name,
                           stored_.at(key).tensor);
        const int64_t heads = rotated_heads(key);
        SLICE_FORMAT_CHECK(heads == 0 || end - begin == heads * config_.head_size,
                           "{}: {}: want {} rows, got {}", path.string(), name,
                           heads * config_.head_size, detail::describe(entry.shape));
        std::vector<int64_t> shape = entry.shape;
        shape[0] = end - begin;
        entries_[key] = {.shape = shape,
                         .dtype = GgufFile::read_dtype(entry.type),
                         .quantised = GgufFile::quantised(entry.type)};
      }
    }
  }

  Tensor read(const std::string& name) const override {
    const auto found = stored_.find(name);
    SLICE_FORMAT_CHECK(found != stored_.end(), "{}: no tensor is called {}", path_.string(), name);
    const Rows& rows = found->second;
    Tensor tensor = file_.read(rows.tensor);
    if (rows.end - rows.begin < tensor.size(0))
      tensor = tensor.slice(0, rows.begin, rows.end).clone();
    const int64_t heads = rotated_heads(name);
    return heads == 0 ? tensor : detail::split_halves(tensor, heads);
  }

 private:
  struct Rows {
    std::string tensor;
    int64_t begin, end;
  };

  /// Heads of a weight or bias that llama.cpp stores in the interleaved rotary form; 0 for others.
  int64_t rotated_heads(const std::string& name) const {
    if (!interleaved_) return 0;
    if (name.find(".q_proj.") != std::string::npos) return config_.heads;
    return name.find(".k_proj.") != std::string::npos ? config_.kv_heads : 0;
  }

  GgufFile file_;
  // llama.cpp's "llama" rotates neighbouring coordinates together, the others i and i + d/2.
  bool interleaved_ = false;
  std::map<std::string, Rows> stored_;  // Hugging Face name → where it is in the file
};

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

bool begins_with_gguf(const fs::path& path) {
  const detail::MappedFile file(path);
  return file.bytes().size() >= 4 && std::memcmp(file.bytes().data(), "GGUF", 4) == 0;
}

}  // namespace

std::unique_ptr<Checkpoint> open_checkpoint(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  SLICE_FORMAT_CHECK(fs::exists(status), "{}: {}", path.string(),
                     error ? error.message() : "no such file or directory");
  if (fs::is_directory(status)) return std::make_unique<DirectoryCheckpoint>(path);
  if (begins_with_gguf(path)) return std::make_unique<GgufCheckpoint>(path);
  SLICE_FORMAT_CHECK(path.extension() == ".bin",
                     "{}: want a Hugging Face directory, a GGUF file or a llama2.c .bin",
                     path.string());
  return std::make_unique<Llama2cCheckpoint>(path);
}

ModelConfig read_config(const fs::path& path) {
  std::error_code ignored;
  const bool directory = fs::is_directory(path, ignored);
  if (!directory && path.extension() != ".json") return open_checkpoint(path)->config();
  constexpr size_t kLargest = size_t{1} << 24;
  const fs::path file = directory ? path / "config.json" : path;
  ModelConfig config = parse_config(detail::read_text_file(file, kLargest), file.string());
  const fs::path generation = path / "generation_config.json";
  if (!directory || !fs::exists(generation, ignored)) return config;
  return with_generation_config(std::move(config), detail::read_text_file(generation, kLargest),
                                generation.string());
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
