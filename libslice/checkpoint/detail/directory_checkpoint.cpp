#include "libslice/checkpoint/detail/directory_checkpoint.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/json.h"
#include "libslice/checkpoint/detail/foreign_model.h"
#include "libslice/checkpoint/detail/unused_tensors.h"
#include "libslice/model/config_json.h"
#include "libslice/model/families/family.h"

namespace slice::detail {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr size_t kLargestConfig = size_t{1} << 24, kLargestIndex = size_t{1} << 28;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

}  // namespace

bool holds_weights(const fs::path& directory) {
  return is_there(directory / kWhole) || is_there(directory / kIndex);
}

ModelConfig config_of_file(const fs::path& path) {
  const std::string text = read_text_file(path, kLargestConfig);
  refuse_quantised(text, path.string());
  return parse_config(text, path.string());
}

ModelConfig directory_config(const fs::path& directory) {
  if (!is_there(directory / "config.json")) refuse_directory(directory, "config.json");
  ModelConfig config = config_of_file(directory / "config.json");
  const fs::path generation = directory / "generation_config.json";
  if (!is_there(generation)) return config;
  return with_generation_config(std::move(config), read_text_file(generation, kLargestConfig),
                                generation.string());
}

DirectoryCheckpoint::DirectoryCheckpoint(const fs::path& path) {
  path_ = path;
  config_ = directory_config(path);
  if (is_there(path / kWhole)) {
    add_file(kWhole);
  } else if (is_there(path / kIndex)) {
    open_shards(path / kIndex);
  } else {
    refuse_directory(path, kWhole);
  }
  std::map<std::string, Entry> tensors;
  for (const auto& [tensor, file] : place_) {
    const SafetensorsFile::Entry& entry = files_.at(file).tensors().at(tensor);
    tensors[tensor] = {.shape = entry.shape, .dtype = entry.dtype};
  }
  place_parameters(tensors);
  check_promises();
  check_unused(*this);
}

Tensor DirectoryCheckpoint::stored(const std::string& tensor) const {
  return files_.at(place_.at(tensor)).read(tensor);
}

Tensor DirectoryCheckpoint::stored_rows(const std::string& tensor, int64_t begin,
                                        int64_t end) const {
  return files_.at(place_.at(tensor)).read(tensor, begin, end);
}

void DirectoryCheckpoint::add_file(const std::string& name) {
  if (files_.contains(name)) return;
  const auto& file = files_.emplace(name, SafetensorsFile(path_ / name)).first->second;
  for (const auto& [tensor, entry] : file.tensors()) place_[tensor] = name;
}

void DirectoryCheckpoint::open_shards(const fs::path& index) {
  const std::string where = index.string();
  const auto object = parse_json(read_text_file(index, kLargestIndex), where);
  SLICE_FORMAT_CHECK(
      object.is_object() && object.contains("weight_map") && object["weight_map"].is_object(),
      "{}: weight_map is missing", where);
  const auto& map = object["weight_map"];
  SLICE_FORMAT_CHECK(!map.empty(), "{}: weight_map is empty", where);
  for (const auto& [name, file] : map.items()) {
    SLICE_FORMAT_CHECK(file.is_string(), "{}: {}: want a file name", where, name);
    const auto shard = file.get<std::string>();
    SLICE_FORMAT_CHECK(!shard.empty() && shard == fs::path(shard).filename().string() &&
                           shard != "." && shard != "..",
                       "{}: {}: shard '{}' is not a plain file name", where, name, shard);
    add_file(shard);
  }
  for (const auto& [name, file] : map.items()) {
    const auto shard = file.get<std::string>();
    if (files_.at(shard).tensors().contains(name)) {
      place_[name] = shard;
    } else if (!place_.contains(name)) {
      promised_[name] = shard;
    }
  }
}

void DirectoryCheckpoint::check_promises() const {
  for (const std::string& name : parameter_names(config_)) {
    const auto found = promised_.find(models::stored_form(config_, name).tensor);
    SLICE_FORMAT_CHECK(found == promised_.end(), "{}: {} is not in {}", (path_ / kIndex).string(),
                       found == promised_.end() ? "" : found->first,
                       found == promised_.end() ? "" : found->second);
  }
}

}  // namespace slice::detail
