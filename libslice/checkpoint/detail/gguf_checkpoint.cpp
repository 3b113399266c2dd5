#include "libslice/checkpoint/detail/gguf_checkpoint.h"

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/base/detail/warn.h"
#include "libslice/checkpoint/detail/one_matrix.h"
#include "libslice/checkpoint/detail/split_halves.h"
#include "libslice/checkpoint/detail/unused_tensors.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_names.h"
#include "libslice/model/families/gguf_xielu.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// The family that reads an architecture of llama.cpp's. @throws FormatError  none does
const models::Family& family_of(const std::string& architecture, const std::string& origin) {
  const models::Family* family = nullptr;
  std::string known;
  for (const models::Family* candidate : models::families()) {
    if (!candidate->parse_gguf || candidate->gguf_architecture.empty()) continue;
    known += (known.empty() ? "" : ", ") + candidate->gguf_architecture;
    if (candidate->gguf_architecture == models::gguf_relative(architecture)) family = candidate;
  }
  SLICE_FORMAT_CHECK(family != nullptr,
                     "{}: architecture '{}' is not supported: libslice reads {} in GGUF files",
                     origin, architecture, known);
  return *family;
}

}  // namespace

GgufCheckpoint::GgufCheckpoint(const std::filesystem::path& path) : file_(path) {
  path_ = path;
  const std::string origin = path.string();
  const auto architecture = file_.get<std::string>("general.architecture");
  const models::Family& family = family_of(architecture, origin);
  architecture_ = &models::gguf_architecture_named(architecture);
  config_ = family.parse_gguf(file_);
  models::keep_usable_tokens(config_, origin);
  check_config(config_, origin);
  for (const auto& [name, entry] : file_.tensors()) add_tensor(name, entry);
  constants_ = models::parse_gguf_lists(file_, config_);
  for (const auto& [name, value] : constants_)
    SLICE_FORMAT_CHECK(entries_.emplace(name, Entry{value.sizes().vec(), at::kFloat}).second,
                       "{}: {} is a tensor and in the metadata", origin, name);
  tie_head();
  check_unused(*this);
}

void GgufCheckpoint::add_tensor(const std::string& name, const GgufFile::Entry& entry) {
  for (const auto& [key, begin, end, expert] :
       models::gguf_places(*architecture_, config_, name, entry.shape, path_.string())) {
    SLICE_FORMAT_CHECK(stored_.emplace(key, Rows{name, begin, end, expert}).second,
                       "{}: {} and {} are the same tensor", path_.string(), name,
                       stored_.at(key).tensor);
    const int64_t heads = turned_form(key).heads;
    SLICE_FORMAT_CHECK(heads == 0 || end - begin == heads * config_.head_size,
                       "{}: {}: want {} rows, got {}", path_.string(), name,
                       heads * config_.head_size, describe(entry.shape));
    std::vector<int64_t> shape(entry.shape.begin() + (expert < 0 ? 0 : 1), entry.shape.end());
    shape[0] = end - begin;
    entries_[key] = {.shape = shape,
                     .dtype = GgufFile::read_dtype(entry.type),
                     .quantised = GgufFile::quantised(entry.type)};
  }
}

Tensor GgufCheckpoint::read(const std::string& name) const {
  if (const auto constant = constants_.find(name); constant != constants_.end())
    return constant->second.clone();
  const auto found = stored_.find(name);
  SLICE_FORMAT_CHECK(found != stored_.end(), "{}: no tensor is called {}", path_.string(), name);
  const Rows& rows = found->second;
  if (rows.expert >= 0) return file_.read(rows.tensor, rows.expert, rows.expert + 1).squeeze(0);
  Tensor tensor = file_.read(rows.tensor);
  if (rows.end - rows.begin < tensor.size(0))
    tensor = tensor.slice(0, rows.begin, rows.end).clone();
  const models::StoredForm form = turned_form(name);
  return form.turning == 0 ? tensor : split_halves(tensor, form.heads, form.turning);
}

models::StoredForm GgufCheckpoint::turned_form(const std::string& name) const {
  models::StoredForm form;
  models::turn_as_gguf(*architecture_, config_, name, form);
  return form;
}

void GgufCheckpoint::tie_head() {
  const models::Names& names = models::family(config_.family).names;
  const std::string embedding = names.embedding + ".weight", head = names.head + ".weight";
  if (config_.tied_head || config_.head_bias || !stored_.contains(head)) return;
  const auto matrix = [&](const std::string& name) {
    return StoredMatrix{entries_.at(name),
                        [this, tensor = stored_.at(name).tensor](int64_t begin, int64_t end) {
                          return file_.read(tensor, begin, end);
                        }};
  };
  if (!may_be_one(matrix(embedding), matrix(head))) return;
  config_.tied_head = true;
  const std::string coarse = stored_.at(embedding).tensor, fine = stored_.at(head).tensor;
  const GgufFile::Entry &a = file_.tensors().at(coarse), &b = file_.tensors().at(fine);
  const bool head_is_finer = b.end - b.begin > a.end - a.begin;
  if (a.type != b.type)
    warn(
        "{}: {} ({}) and {} ({}) hold one matrix in two precisions: the head is tied to the "
        "embedding, and {} is used for both",
        path_.string(), coarse, GgufFile::type_name(a.type), fine, GgufFile::type_name(b.type),
        GgufFile::type_name(head_is_finer ? b.type : a.type));
  if (head_is_finer) {
    stored_.at(embedding) = stored_.at(head);
    entries_.at(embedding) = entries_.at(head);
  }
  stored_.erase(head);
  entries_.erase(head);
}

}  // namespace slice::detail
