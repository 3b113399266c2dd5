#include "libslice/slicing/detail/snapshot.h"

#include <ATen/ATen.h>

namespace slice::detail {

Snapshot::Snapshot(Sublayer& sublayer)
    : sublayer_(sublayer), alpha_(sublayer.norm->weight), beta_(sublayer.norm->bias) {
  for (const Branch& branch : sublayer.branches) {
    for (const LinearRef& reader : branch.readers) {
      keep(reader.weight);
      keep(reader.bias);
    }
    keep(branch.writer.weight);
    keep(branch.writer.bias);
  }
}

void Snapshot::keep(const at::Tensor& parameter) {
  if (parameter.defined()) kept_.emplace_back(parameter, parameter.variable_data());
}

Snapshot::~Snapshot() {
  for (auto& [parameter, value] : kept_) parameter.set_data(value);
  sublayer_.norm->restore_weights(alpha_, beta_);
  sublayer_.shortcut->set_identity();
}

}  // namespace slice::detail
