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
  /// Weights of a norm, which slicing unregisters.
  struct NormWeights {
    Norm norm;
    at::Tensor alpha, beta;
  };

  void keep(const at::Tensor& parameter);
  void keep(const Norm& norm);

  Sublayer& sublayer_;
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;  // (parameter, its value)
  std::vector<NormWeights> norms_;
};

}  // namespace slice::detail
