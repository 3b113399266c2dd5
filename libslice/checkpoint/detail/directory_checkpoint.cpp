#include "libslice/checkpoint/detail/directory_checkpoint.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/warn.h"
#include "libslice/checkpoint/detail/foreign_model.h"
#include "libslice/checkpoint/detail/one_matrix.h"
#include "libslice/checkpoint/detail/unused_tensors.h"
#include "libslice/checkpoint/stored_tensors.h"
#include "libslice/model/config_json.h"
#include "libslice/model/families/family.h"

namespace slice::detail {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kText = "language_model.";  // the text's part of a model that sees images
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
  place_parameters();
  tie_head();
  check_promises();
  check_unused(*this);
}

Tensor DirectoryCheckpoint::read(const std::string& name) const {
  const auto found = stored_.find(name);
  SLICE_FORMAT_CHECK(found != stored_.end(), "{}: no tensor is called {}", path_.string(), name);
  const std::string& tensor = found->second.tensor;
  return parameter_of(found->second, files_.at(place_.at(tensor)).read(tensor));
}

std::string DirectoryCheckpoint::name_of(const std::string& tensor) const {
  const models::Names& names = models::family(config_.family).names;
  const std::string embedding = names.embedding + ".weight";
  if (place_.contains(embedding) || tensor.starts_with(names.head + ".")) return tensor;
  const size_t step = embedding.find('.') + 1;
  const std::string root = embedding.substr(0, step);  // "model."
  if (place_.contains(embedding.substr(step))) return root + tensor;
  for (const auto& [theirs, ours] :
       {std::pair<std::string, std::string>{kText, ""}, {root + kText, root}}) {
    const bool wrapped = place_.contains(theirs + embedding.substr(ours.size()));
    if (wrapped && tensor.starts_with(theirs)) return ours + tensor.substr(theirs.size());
  }
  return tensor;
}

void DirectoryCheckpoint::place_parameters() {
  for (const auto& [tensor, file] : place_) there_[name_of(tensor)] = tensor;
  std::map<std::string, std::string> others = there_;
  const auto place = [&](const std::string& name, models::StoredForm form) {
    form.tensor = there_.at(form.tensor);
    const SafetensorsFile::Entry& entry =
        files_.at(place_.at(form.tensor)).tensors().at(form.tensor);
    entries_[name] = {.shape = parameter_shape(form, entry.shape, path_.string()),
                      .dtype = form.offset == 0 ? entry.dtype : at::kDouble};
    stored_[name] = std::move(form);
  };
  for (const std::string& name : parameter_names(config_)) {
    const models::StoredForm form = models::stored_form(config_, name);
    if (!there_.contains(form.tensor)) continue;
    others.erase(form.tensor);
    place(name, form);
  }
  for (const auto& [name, tensor] : others) place(name, {.tensor = name});
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

void DirectoryCheckpoint::tie_head() {
  const models::Names& names = models::family(config_.family).names;
  const std::string embedding = names.embedding + ".weight", head = names.head + ".weight";
  if (!config_.tied_head || config_.sliced() || !stored_.contains(head)) return;
  if (!stored_.contains(embedding)) {  // the one of the two that was saved
    stored_[embedding] = stored_.at(head);
    entries_[embedding] = entries_.at(head);
  }
  const auto matrix = [&](const std::string& name) {
    const std::string& stored = stored_.at(name).tensor;
    const SafetensorsFile& file = files_.at(place_.at(stored));
    return StoredMatrix{entries_.at(name), [&file, &stored](int64_t begin, int64_t end) {
                          return file.read(stored, begin, end);
                        }};
  };
  if (may_be_one(matrix(embedding), matrix(head))) {
    stored_.erase(head);
    entries_.erase(head);
    return;
  }
  config_.tied_head = false;
  warn(
      "{}: tie_word_embeddings is true, but {} is not {}: the head that the file holds is used, "
      "untied",
      path_.string(), head, embedding);
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
