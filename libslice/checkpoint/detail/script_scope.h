#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "libslice/model/config.h"

namespace slice::detail {

/// A norm as TorchScript source has it.
struct ScriptNorm {
  NormKind kind = NormKind::kRms;
  bool centres = false;  ///< it takes the mean out
  int64_t width = 0;     ///< D
  double eps = 0;
};

/// The parameters of a module and of what is below it, as methods of the module name them in
/// TorchScript source.
class ScriptScope {
 public:
  using Shapes = std::map<std::string, std::vector<int64_t>>;  // by name from the root

  /// @param root  path of the module with a dot at its end; empty: the whole model
  ScriptScope(const Shapes& shapes, std::string root) : shapes_(shapes), root_(std::move(root)) {}

  bool has(const std::string& path) const { return shapes_.contains(root_ + path); }
  const std::vector<int64_t>& shape(const std::string& path) const {
    return shapes_.at(root_ + path);
  }
  /// "a.0.b" → getattr(self.a, "0").b
  static std::string member(const std::string& path);
  /// The same, or None where there is no such parameter.
  std::string member_or_none(const std::string& path) const;
  /// A linear layer of an input.
  std::string linear(const std::string& input, const std::string& path) const;
  /// A norm of a variable, with the weights that are there. An RMSNorm divides as NormImpl does.
  std::string norm(const std::string& variable, const std::string& path,
                   const ScriptNorm& norm) const;

 private:
  const Shapes& shapes_;
  std::string root_;
};

/// A number as TorchScript reads it back to the bit, never an integer.
std::string script_number(double value);
/// A dtype: its number, since torch.float32 is a name of PyTorch, not of LibTorch.
std::string script_dtype(at::ScalarType dtype);
/// The dtype of products, sums and angles of a variable: float32 at least.
std::string script_wide(const std::string& variable);

}  // namespace slice::detail
