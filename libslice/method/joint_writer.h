#pragma once

#include "libslice/method/refit.h"
#include "libslice/model/adapter.h"

namespace slice::detail {

/// The branches of a sublayer as one: a parallel block is refitted jointly (docs/method.md,
/// "Refit").

/// What the writers of a sublayer read, side by side: x (…, k) → (…, F).
at::Tensor hidden_of(const Sublayer& s, const at::Tensor& x);
/// What they write, o = scale · (h Wᵀ + b): h (…, F) → (…, k').
at::Tensor output_of(const Sublayer& s, const at::Tensor& h);
/// The signal after a sublayer whose writers read h (…, F):  x S + o, or x S + out_norm(o).
at::Tensor written(const Sublayer& s, const at::Tensor& h, const at::Tensor& x);
/// F: the width of h.
int64_t hidden_width(const Sublayer& s);
/// The writers of a sublayer as one, times its scale, float64: W (D, F), Σ b.
Writer writer_of(const Sublayer& s);
/// Puts a solution, divided by the scale, into the modules, rounded once; the first bias holds the sum of all biases.
/// @throws NumericError  a value does not fit the weights' dtype (names the writer)
void set_writer(Sublayer& s, const Writer& writer);

}  // namespace slice::detail
