#include "libslice/checkpoint/stored_tensors.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/detail/split_halves.h"

namespace slice {

using at::Tensor;
using models::StoredForm;

namespace {

std::vector<int64_t> turned_shape(std::vector<int64_t> shape, const StoredForm& form) {
  if (form.transposed && shape.size() == 2) std::swap(shape[0], shape[1]);
  return shape;
}

/// A matrix that the file keeps transposed; vectors have no other side.
Tensor turned(const Tensor& tensor, const StoredForm& form) {
  return form.transposed && tensor.dim() == 2 ? tensor.t().contiguous() : tensor;
}

/// (groups · n, in) → (groups, n, in), or of a bias (groups, n).
Tensor grouped(const Tensor& rows, int64_t groups) {
  std::vector<int64_t> shape = rows.sizes().vec();
  shape.insert(shape.begin(), groups);
  shape[1] /= groups;
  return rows.reshape(shape);
}

}  // namespace

std::vector<int64_t> parameter_shape(const StoredForm& form, const std::vector<int64_t>& stored,
                                     const std::string& origin) {
  std::vector<int64_t> shape = turned_shape(stored, form);
  const int64_t rows = shape.empty() ? 0 : shape[0];
  if (form.fused()) {
    SLICE_FORMAT_CHECK(rows == form.groups * form.group_rows,
                       "{}: {}: want {} rows of q, k, v or of gate and up together, got {}", origin,
                       form.tensor, form.groups * form.group_rows, detail::describe(stored));
    shape[0] = form.groups * (form.end - form.begin);
  }
  SLICE_FORMAT_CHECK(form.heads == 0 || (!shape.empty() && shape[0] % form.heads == 0 &&
                                         shape[0] / form.heads >= form.turning),
                     "{}: {}: want rows of {} heads, got {}", origin, form.tensor, form.heads,
                     detail::describe(stored));
  return shape;
}

Tensor parameter_of(const StoredForm& form, const Tensor& stored) {
  Tensor value = turned(stored, form);
  if (form.fused()) {
    const Tensor part = grouped(value, form.groups).slice(1, form.begin, form.end);
    value = part.flatten(0, 1).clone(at::MemoryFormat::Contiguous);
  }
  if (form.turning > 0) value = detail::split_halves(value, form.heads, form.turning);
  return form.offset == 0 ? value : value.to(at::kDouble).add(form.offset);
}

StoredTensors::StoredTensors(const std::vector<WrittenForm::Entry>& parameters,
                             const FormOf& form_of) {
  struct Missing {
    int64_t rows;
    std::string last;
  };
  std::map<std::string, Missing> missing;  // of fused tensors that are not complete
  for (const auto& [name, shape] : parameters) {
    const Part& part = parts_.emplace(name, Part{form_of(name)}).first->second;
    const StoredForm& form = part.form;
    std::vector<int64_t> stored = shape;
    if (form.fused()) {
      const int64_t rows = form.end - form.begin;
      SLICE_ARGUMENT_CHECK(!shape.empty() && shape[0] == form.groups * rows,
                           "writing: {}: want {} rows, got {}", name, form.groups * rows,
                           detail::describe(shape));
      Missing& rest = missing.emplace(form.tensor, Missing{form.group_rows, ""}).first->second;
      if (!rest.last.empty()) parts_.at(rest.last).last = false;
      rest.rows -= rows;
      rest.last = name;
      if (rest.rows > 0) continue;
      missing.erase(form.tensor);
      stored[0] = form.groups * form.group_rows;
    }
    stored = turned_shape(stored, form);
    if (form.stacked) stored.insert(stored.begin(), 1);
    slots_.push_back({form.tensor, stored});
  }
  SLICE_ARGUMENT_CHECK(missing.empty(), "writing: {}: parts are missing",
                       missing.empty() ? "" : missing.begin()->first);
}

StoredTensors::StoredTensors(const std::vector<WrittenForm::Entry>& parameters,
                             const ModelConfig& config)
    : StoredTensors(parameters, [&](const std::string& parameter) {
        return models::stored_form(config, parameter);
      }) {}

std::optional<std::pair<std::string, Tensor>> StoredTensors::add(const std::string& parameter,
                                                                 const Tensor& value) {
  const auto& [form, last] = parts_.at(parameter);
  Tensor stored = value.detach();
  if (form.offset != 0) stored = stored.to(at::kCPU, at::kDouble).sub(form.offset);
  if (form.turning > 0) stored = detail::interleave_halves(stored, form.heads, form.turning);
  if (form.stacked) return std::pair(form.tensor, turned(stored, form).unsqueeze(0));
  if (!form.fused()) return std::pair(form.tensor, turned(stored, form));
  waiting_[form.tensor][form.begin] = grouped(stored, form.groups);
  if (!last) return std::nullopt;
  std::vector<Tensor> parts;  // (groups, n, in), in the order of their rows
  for (auto& [begin, part] : waiting_.at(form.tensor)) parts.push_back(std::move(part));
  waiting_.erase(form.tensor);
  return std::pair(form.tensor, turned(at::cat(parts, 1).flatten(0, 1), form));
}

}  // namespace slice
