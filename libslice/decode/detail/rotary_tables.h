#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "libslice/model/config.h"
#include "libslice/model/rotary.h"

namespace slice::detail {

/// What the heads of a layer turn by, position by position.
struct RotaryTable {
  int64_t rotary_size = 0;  ///< r, leading coordinates of a head that turn; 0: none
  at::Tensor cosine, sine;  ///< (positions, r/2) float32; undefined where nothing turns
};

/// The tables of all layers; layers that turn alike share theirs.
class RotaryTables {
 public:
  /// Row p is what the last token of a text of p + 1 tokens turns by.
  /// @param positions  rows
  RotaryTables(const ModelConfig& config, int64_t positions, at::Device device);

  /// Those of a text of `length` tokens, which may be within the context that the model was trained
  /// for or past it: row p is what token p turns by. The same unless angles depend on the length.
  RotaryTables of_text(int64_t length) const;
  /// Whether angles depend on the length of the text (longrope, dynamic).
  static bool depend_on_length(const ModelConfig& config);

  const RotaryTable& layer(int64_t layer) const { return tables_[number_[layer]]; }
  /// Tables that differ, and the number of a layer's.
  const std::vector<RotaryTable>& tables() const { return tables_; }
  size_t number(int64_t layer) const { return number_[layer]; }

 private:
  at::Device device_;
  std::vector<std::optional<Rotary>> rotaries_;  // what each table is of
  std::vector<RotaryTable> tables_;
  std::vector<size_t> number_;  // of each layer, in tables_
};

}  // namespace slice::detail
