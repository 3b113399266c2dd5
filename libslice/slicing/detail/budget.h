#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "libslice/method/plan.h"
#include "libslice/model/config.h"

namespace slice::detail {

/// What a search may keep of a model: parameters, block weights, or the memory that running it
/// takes. Configurations are those of the form that is written.
class Budget {
 public:
  /// @throws ArgumentError  none of remove, remove_blocks and fit_bytes is given, or a fraction
  ///                        outside (0, 1)
  Budget(const ModelConfig& dense, const SliceOptions& options);

  /// What it bounds: bytes or parameters.
  double size(const ModelConfig& written) const;
  bool holds(const ModelConfig& written) const { return size(written) <= most_; }
  /// Whether it leaves less than 1 % of the dense model unused.
  bool used_up(const ModelConfig& written) const;
  /// The largest of 0 … last whose configuration it holds, where it holds the smaller ones too;
  /// −1 if none. Cost: about log2(last) configurations.
  int64_t most(int64_t last, const std::function<ModelConfig(int64_t)>& written) const;
  /// Why no plan reaches it, the smallest of which has this size.
  std::string out_of_reach(double smallest) const;

 private:
  SliceOptions options_;
  double whole_ = 0;  // of the dense model
  double most_ = 0;
};

}  // namespace slice::detail
