#include "libslice/checkpoint/detail/hugging_face_checkpoint.h"

#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/warn.h"
#include "libslice/checkpoint/detail/one_matrix.h"
#include "libslice/checkpoint/detail/unused_tensors.h"
#include "libslice/checkpoint/stored_tensors.h"
#include "libslice/model/families/family.h"

namespace slice::detail {

using at::Tensor;

namespace {

using Entries = std::map<std::string, Checkpoint::Entry>;

constexpr const char* kText = "language_model.";  // the text's part of a model that sees images

/// Our name of a tensor: with the "model." that the stored names lack, as those of OPT's first
/// files do, or without what a model of text and images puts before those of its text.
std::string name_of(const std::string& tensor, const models::Names& names, const Entries& all) {
  const std::string embedding = names.embedding + ".weight";
  if (all.contains(embedding) || tensor.starts_with(names.head + ".")) return tensor;
  const size_t step = embedding.find('.') + 1;
  const std::string root = embedding.substr(0, step);  // "model."
  if (all.contains(embedding.substr(step))) return root + tensor;
  for (const auto& [theirs, ours] :
       {std::pair<std::string, std::string>{kText, ""}, {root + kText, root}}) {
    const bool wrapped = all.contains(theirs + embedding.substr(ours.size()));
    if (wrapped && tensor.starts_with(theirs)) return ours + tensor.substr(theirs.size());
  }
  return tensor;
}

}  // namespace

Tensor HuggingFaceCheckpoint::read(const std::string& name) const {
  const auto found = forms_.find(name);
  SLICE_FORMAT_CHECK(found != forms_.end(), "{}: no tensor is called {}", path_.string(), name);
  return parameter_of(found->second, stored(found->second.tensor));
}

void HuggingFaceCheckpoint::place_parameters(const Entries& tensors) {
  std::map<std::string, std::string> there;  // our name → the stored one
  for (const auto& [tensor, entry] : tensors)
    there[name_of(tensor, models::family(config_.family).names, tensors)] = tensor;
  std::map<std::string, std::string> others = there;
  const auto place = [&](const std::string& name, models::StoredForm form) {
    form.tensor = there.at(form.tensor);
    const Entry& entry = tensors.at(form.tensor);
    entries_[name] = {.shape = parameter_shape(form, entry.shape, path_.string()),
                      .dtype = form.offset == 0 ? entry.dtype : at::kDouble};
    forms_[name] = std::move(form);
  };
  for (const std::string& name : parameter_names(config_)) {
    const models::StoredForm form = models::stored_form(config_, name);
    if (!there.contains(form.tensor)) continue;
    others.erase(form.tensor);
    place(name, form);
  }
  for (const auto& [name, tensor] : others) place(name, {.tensor = name});
  tie_head();
}

void HuggingFaceCheckpoint::tie_head() {
  const models::Names& names = models::family(config_.family).names;
  const std::string embedding = names.embedding + ".weight", head = names.head + ".weight";
  if (!config_.tied_head || config_.sliced() || !forms_.contains(head)) return;
  if (!forms_.contains(embedding)) {  // the one of the two that was saved
    forms_[embedding] = forms_.at(head);
    entries_[embedding] = entries_.at(head);
  }
  const auto matrix = [&](const std::string& name) {
    const std::string& tensor = forms_.at(name).tensor;
    return StoredMatrix{entries_.at(name), [this, &tensor](int64_t begin, int64_t end) {
                          return stored_rows(tensor, begin, end);
                        }};
  };
  if (may_be_one(matrix(embedding), matrix(head))) {
    forms_.erase(head);
    entries_.erase(head);
    return;
  }
  config_.tied_head = false;
  warn(
      "{}: tie_word_embeddings is true, but {} is not {}: the head that the file holds is used, "
      "untied",
      path_.string(), head, embedding);
}

}  // namespace slice::detail
