#pragma once

#include <optional>
#include <vector>

#include "cuda/decode_step.h"

// decode_step: a list as its kernel runs it, norms taken into the products that read them.

namespace slice::kernels::detail {

/// Operations that an operand may be old.
inline constexpr int kStepMostBack = 8;

/// A product or an attention.
struct StepItem {
  const DecodeOperation* operation;
  const DecodeNorm* norm;      // of a product's X, or nullptr
  int x = -1, z = -1, r = -1;  // items that made them (x: of qkv); −1: plain memory, or none
  bool is_read = false;        // by another item
};

inline const DecodeLinear* linear_of(const StepItem& item) {
  return std::get_if<DecodeLinear>(item.operation);
}
inline const DecodeAttention* attention_of(const StepItem& item) {
  return std::get_if<DecodeAttention>(item.operation);
}

/// @return  nothing where an operand is neither the whole of what an earlier item made nor plain
///          memory (X: of the first kStepMostBack items alone), or too old, or a norm that is not a
///          product's X
std::optional<std::vector<StepItem>> step_items(const std::vector<DecodeOperation>& operations);

/// Whether the kernel's accesses and its way of waiting suit the items, on so many multiprocessors.
bool step_items_run(const std::vector<StepItem>& items, int multiprocessors);

/// Elements that an item makes.
int64_t columns_of(const StepItem& item);

}  // namespace slice::kernels::detail
