// The host side of decode_step's lists: which of them its kernel runs.

#include "cuda/detail/decode_step_list.h"

#include <algorithm>

#include "cuda/detail/decode_attention_arguments.cuh"
#include "cuda/detail/range.h"

namespace slice::kernels::detail {
namespace {

constexpr int64_t kBytes = 2;  // of an element

struct Output {
  const void* begin;
  int64_t columns;
};

Output output_of(const DecodeOperation& operation) {
  if (const auto* l = std::get_if<DecodeLinear>(&operation)) return {l->Y, columns_of(*l)};
  if (const auto* n = std::get_if<DecodeNorm>(&operation)) return {n->Y, n->columns};
  const auto& a = std::get<DecodeAttention>(operation);
  return {a.out, a.heads * a.head_size};
}

/// The operation before `end` that made `columns` elements at `pointer`.
/// @return  −1: none, the memory is plain; nothing: they are not the whole of one
std::optional<int> maker_of(const std::vector<DecodeOperation>& operations, int end,
                            const void* pointer, int64_t columns) {
  for (int o = end - 1; o >= 0; --o) {
    const Output out = output_of(operations[o]);
    if (are_disjoint(out.begin, out.columns * kBytes, pointer, columns * kBytes)) continue;
    return out.begin == pointer && columns <= out.columns ? std::optional(o) : std::nullopt;
  }
  return -1;
}

/// Finds the items that an item's operands were made by.
class Finder {
 public:
  explicit Finder(const std::vector<DecodeOperation>& operations) : operations_(operations) {}

  std::optional<std::vector<StepItem>> items() {
    for (int o = 0; o < static_cast<int>(operations_.size()); ++o) {
      numbers_.push_back(static_cast<int>(items_.size()));
      if (std::holds_alternative<DecodeNorm>(operations_[o])) continue;
      StepItem item{&operations_[o], nullptr};
      const bool found = linear_of(item) != nullptr ? find_linear(item, o) : find_qkv(item, o);
      if (!found) return std::nullopt;
      items_.push_back(item);
    }
    return std::move(items_);
  }

 private:
  /// @param item  set to the number of the item that made them
  bool find(int o, const void* pointer, int64_t columns, int& item) {
    if (columns == 0) return true;
    const std::optional<int> made = maker_of(operations_, o, pointer, columns);
    if (!made || *made < 0) return made.has_value();
    if (std::holds_alternative<DecodeNorm>(operations_[*made])) return false;
    item = numbers_[*made];
    if (static_cast<int>(items_.size()) - item > kStepMostBack) return false;
    items_[item].is_read = true;
    return true;
  }

  /// What nothing made, the first items alone may read as X.
  bool may_begin_with(int made) const { return made >= 0 || items_.size() < kStepMostBack; }

  bool find_linear(StepItem& item, int o) {
    const DecodeLinear& l = *linear_of(item);
    const std::optional<int> made = maker_of(operations_, o, l.X, l.K);
    if (!made) return false;
    int before = o;
    const void* X = l.X;
    if (*made >= 0 && std::holds_alternative<DecodeNorm>(operations_[*made])) {
      item.norm = &std::get<DecodeNorm>(operations_[*made]);
      if (item.norm->columns != l.K) return false;
      before = *made;
      X = item.norm->X;
    }
    return find(before, X, l.K, item.x) && may_begin_with(item.x) && find(o, l.Z, l.K2, item.z) &&
           find(o, l.R, l.residual_columns, item.r);
  }

  bool find_qkv(StepItem& item, int o) {
    const DecodeAttention& a = *attention_of(item);
    return find(o, a.qkv, (a.heads + 2 * a.kv_heads) * a.head_size, item.x) && item.x >= 0;
  }

  const std::vector<DecodeOperation>& operations_;
  std::vector<int> numbers_;  // of the operations' items
  std::vector<StepItem> items_;
};

bool are_vectors(const void* pointer, int64_t columns) {
  return pointer != nullptr && is_aligned(pointer, kVectorBytes) && columns % 8 == 0;
}

/// Rows of W that make two columns.
int64_t pair_rows(const DecodeLinear& l) { return is_gated(l.epilogue) ? 4 : 2; }

/// Whether every block has some of its columns.
bool is_wide(const StepItem& item, int multiprocessors) {
  const DecodeLinear* l = linear_of(item);
  return l != nullptr && l->N / pair_rows(*l) >= multiprocessors;
}

bool linear_runs(const DecodeLinear& l) {
  return l.M == 1 && l.N > 0 && l.N < (1 << 30) && l.N % pair_rows(l) == 0 && l.K > 0 &&
         are_vectors(l.X, l.K) && are_vectors(l.W, l.K) && l.Y != nullptr &&
         (l.K2 == 0 || (are_vectors(l.Z, l.K2) && are_vectors(l.V, l.K2) && l.norm_hidden == 0)) &&
         is_aligned(l.norm_weight, kVectorBytes) && l.norm_hidden >= 0 &&
         (l.norm_weight == nullptr || l.norm_hidden > 0) && l.residual_columns >= 0 &&
         l.residual_columns <= columns_of(l) && (l.residual_columns == 0 || l.R != nullptr);
}

bool norm_runs(const DecodeNorm& n, const DecodeLinear& l) {
  return l.norm_hidden == 0 && are_vectors(n.X, n.columns) && is_aligned(n.weight, kVectorBytes) &&
         is_aligned(n.bias, kVectorBytes) && n.eps >= 0;
}

bool attention_runs(const DecodeAttention& a) {
  return attention_is_valid(a) && a.batch == 1 && a.head_size <= kDecodeStepHeadSize &&
         are_vectors(a.keys, a.head_size) && are_vectors(a.values, a.head_size) &&
         a.capacity < (1 << 24);
}

}  // namespace

std::optional<std::vector<StepItem>> step_items(const std::vector<DecodeOperation>& operations) {
  return Finder(operations).items();
}

int64_t columns_of(const StepItem& item) { return output_of(*item.operation).columns; }

// No block may be so far ahead that it writes over words that another still looks for: who writes an
// item has all of its X, made by all blocks where that is wide; where it is not, its own was. Who
// waits for nothing, among the first items, is ahead of none that the words are used again for.
bool step_items_run(const std::vector<StepItem>& items, int multiprocessors) {
  return std::all_of(items.begin(), items.end(), [&](const StepItem& item) {
    const DecodeLinear* l = linear_of(item);
    if (l == nullptr)
      return attention_runs(*attention_of(item)) && is_wide(items[item.x], multiprocessors);
    const StepItem* x = item.x < 0 ? nullptr : &items[item.x];
    return linear_runs(*l) && (item.norm == nullptr || norm_runs(*item.norm, *l)) &&
           (is_wide(item, multiprocessors) || x == nullptr || is_wide(*x, multiprocessors));
  });
}

}  // namespace slice::kernels::detail
