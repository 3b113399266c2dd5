#pragma once

#include <utility>
#include <vector>

#include "libslice/model/adapter.h"

namespace slice::detail {

/// A sublayer's parameters as they are now, restored when this goes out of scope. Holds references,
/// not copies: slicing gives parameters new memory and leaves the old as it was.
class Snapshot {
 public:
  explicit Snapshot(Sublayer& sublayer);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

 private:
  void keep(const at::Tensor& parameter);

  Sublayer& sublayer_;
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;  // (parameter, its value)
  at::Tensor alpha_, beta_;                              // the norm's, which slicing unregisters
};

}  // namespace slice::detail
