#pragma once

#include "libslice/device/process_group.h"
#include "libslice/model/adapter.h"

namespace slice {

/// Rewrites weights into the basis P (D, k) of a site, its columns orthonormal (docs/method.md,
/// "Computational invariance", "Slicing"). All algebra in float64 with one rounding to the weight's
/// dtype; in place through set_data. Everything that a sublayer needs is computed before anything
/// is written. An undefined P is the identity: norms are fused and their α becomes ones, nothing is
/// rotated.
///
/// In a group, whose ranks hold the same weights and the same P, each computes a share of the rows
/// and gets the others': the same bits on every rank.

/// Readers of the site:  W ← W diag(α) P,  b ← b + W β, and the norm loses its α and β.
void rotate_readers(Sublayer& s, const at::Tensor& P, const ProcessGroup& group = {});
/// Writers into the site:  W ← Pᵀ W,  b ← Pᵀ b.
/// @throws ArgumentError  a norm on what they write, which does not commute with a rotation
void rotate_writers(Sublayer& s, const at::Tensor& P, const ProcessGroup& group = {});
/// Embeddings:  E ← E P.
void rotate_embeddings(ModelAdapter& model, const at::Tensor& P, const ProcessGroup& group = {});
/// Head:  W ← W diag(α) P,  b ← b + W β, and the final norm loses its α and β.
void rotate_head(ModelAdapter& model, const at::Tensor& P, const ProcessGroup& group = {});

}  // namespace slice
