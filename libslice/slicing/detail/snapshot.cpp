#include "libslice/slicing/detail/snapshot.h"

#include <ATen/ATen.h>

namespace slice::detail {

Snapshot::Snapshot(Sublayer& sublayer) : sublayer_(sublayer) {
  keep(sublayer.norm);
  for (const Branch& branch : sublayer.branches) {
    if (!branch.norm.is_empty()) keep(branch.norm);
    for (const LinearRef& reader : branch.readers) {
      keep(reader.weight);
      keep(reader.bias);
    }
    for (const LinearRef& writer : branch.writers()) {
      keep(writer.weight);
      keep(writer.bias);
    }
  }
}

void Snapshot::keep(const at::Tensor& parameter) {
  if (parameter.defined()) kept_.emplace_back(parameter, parameter.variable_data());
}

void Snapshot::keep(const Norm& norm) { norms_.push_back({norm, norm->weight, norm->bias}); }

Snapshot::~Snapshot() {
  for (auto& [parameter, value] : kept_) parameter.set_data(value);
  for (NormWeights& kept : norms_) kept.norm->restore_weights(kept.alpha, kept.beta);
  sublayer_.shortcut->set_identity();
}

}  // namespace slice::detail
