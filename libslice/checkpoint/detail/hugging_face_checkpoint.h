#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/model/families/stored_form.h"

namespace slice::detail {

/// Tensors under the names that Transformers gives them, wherever they are kept.
class HuggingFaceCheckpoint : public Checkpoint {
 public:
  at::Tensor read(const std::string& name) const override;

 protected:
  /// Says of each parameter which tensor holds it, and decides by the tensors whether the head is
  /// the embedding; other tensors keep their names. path_ and config_ are set before.
  /// @throws FormatError  a tensor has other rows than its form says (named)
  void place_parameters(const std::map<std::string, Entry>& tensors);

  /// A tensor by its own name: CPU, contiguous, its own memory; and some of its rows.
  virtual at::Tensor stored(const std::string& tensor) const = 0;
  virtual at::Tensor stored_rows(const std::string& tensor, int64_t begin, int64_t end) const = 0;

 private:
  void tie_head();

  std::map<std::string, models::StoredForm> forms_;  // parameter, or other tensor → where it is
};

}  // namespace slice::detail
