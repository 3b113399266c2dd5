#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libslice/checkpoint/shard_writer.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/model/families/stored_form.h"

namespace slice {

/// Rows and columns of a parameter that is kept so in a tensor of this shape.
/// @param origin  the file, for messages
/// @throws FormatError  the tensor has other rows than the form says (named)
std::vector<int64_t> parameter_shape(const models::StoredForm& form,
                                     const std::vector<int64_t>& stored, const std::string& origin);

/// The parameter, from the tensor that holds it.
/// @return  the tensor itself where it is kept as it is, else its own memory; with an offset
///          float64, so that nothing is lost
at::Tensor parameter_of(const models::StoredForm& form, const at::Tensor& stored);

/// The tensors of a file, made of a model's parameters as these come one after the other: a fused
/// one is there once all its parts are.
class StoredTensors {
 public:
  using FormOf = std::function<models::StoredForm(const std::string& parameter)>;

  /// @param parameters  in the order in which they will come
  /// @param form_of     how the file keeps each
  /// @throws ArgumentError  parts that do not make up a tensor (named)
  StoredTensors(const std::vector<WrittenForm::Entry>& parameters, const FormOf& form_of);
  /// Of a Hugging Face directory.
  StoredTensors(const std::vector<WrittenForm::Entry>& parameters, const ModelConfig& config);

  /// In the order in which `add` completes them. A slice of a stack is one by itself, (1, …).
  const std::vector<ShardWriter::Slot>& slots() const { return slots_; }
  /// Whether a tensor is complete with this parameter, its last part.
  bool completes(const std::string& parameter) const { return parts_.at(parameter).last; }
  /// The tensor that is complete with this parameter; nothing where other parts are to come.
  /// @param value  any device and dtype; parts of one tensor share both. Kept until then
  std::optional<std::pair<std::string, at::Tensor>> add(const std::string& parameter,
                                                        const at::Tensor& value);

 private:
  struct Part {
    models::StoredForm form;
    bool last = true;
  };

  std::vector<ShardWriter::Slot> slots_;
  std::map<std::string, Part> parts_;  // of each parameter
  std::map<std::string, std::map<int64_t, at::Tensor>>
      waiting_;  // tensor → its parts by their rows
};

}  // namespace slice
