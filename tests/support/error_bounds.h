#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "libslice/model/config.h"

// How far rounding alone can move what a test compares. γ, sums, products and norms are the bounds
// of N. J. Higham, Accuracy and Stability of Numerical Algorithms (2nd edition, SIAM 2002): they
// hold for every order of a sum, and so on every processor, for every instruction set, library and
// number of threads. What is no bound but an allowance says so, and why it is wide enough.
//
// A test compares what the library computed with what it computed itself in float64, in another
// order: bounds count the roundings of both.

namespace slice::tests {

/// Unit roundoff u of a floating dtype: the largest relative error of one rounding.
double roundoff(at::ScalarType dtype);
/// In which dtype sums are formed: float64 for float64, float32 for all others.
at::ScalarType accumulator(at::ScalarType dtype);

/// γₙ = n·u / (1 − n·u), the relative error of n roundings one after the other.        (Lemma 3.1)
double gamma_n(int64_t n, at::ScalarType dtype);

/// y rounded to `dtype` once: u·|y|, and half of the smallest subnormal number.
at::Tensor rounding_bound(const at::Tensor& y, at::ScalarType dtype);

/// Roundings to `dtype` of two numbers that lie within `error` of y: the same but next to a tie.
at::Tensor tie_bound(const at::Tensor& y, const at::Tensor& error, at::ScalarType dtype);

/// Two sums of the same n terms, one formed in `dtype`, one in float64, each in an order of its
/// own:  (γₙ(dtype) + γₙ(float64))·Σ|terms|.                                                (§4.2)
/// @param magnitudes  Σ|terms|, entry by entry; a product of two numbers is one term
at::Tensor sum_bound(const at::Tensor& magnitudes, int64_t n, at::ScalarType dtype);

/// |x| |W|ᵀ in float64: what the errors of x Wᵀ are proportional to.
at::Tensor product_magnitudes(const at::Tensor& x, const at::Tensor& W);

/// y = x Wᵀ, or x Wᵀ + addend, in x's dtype: sums of k products in the accumulator,
/// γ_k·|x| |W|ᵀ entry by entry (§3.5), and what a half type rounds besides: the product, and the
/// sum again where something is added.
/// @param y  the float64 product, (…, n)   @param x (…, k)   @param W (n, k)   @param addend y's
at::Tensor product_bound(const at::Tensor& y, const at::Tensor& x, const at::Tensor& W,
                         const at::Tensor& addend = {});

/// y = x / √(Σx²/D + eps) · weight in `dtype`: k squares, all positive, are summed to γ_k of
/// themselves, of which the root takes half; 8 for sums, root, quotient and weight.
at::Tensor rms_norm_bound(const at::Tensor& y, int64_t k, at::ScalarType dtype);

/// ‖C Q − Q Λ‖ / ‖C‖ and ‖QᵀQ − I‖ of an eigensolve or of another product of Householder
/// reflections, (n, n) float64: n·p(n)·u in theory, with a constant that nobody gives; LAPACK's own
/// tests accept 50·n·ε, ε = 2u (TESTING/sep.in), and so do we.
double eigen_bound(int64_t n);

/// Two computed projectors onto the same leading eigenvectors of C (n, n): each solve is exact for
/// a matrix that is eigen_bound(n)·‖C‖ from C, and that turns the space by no more than the error
/// over what is left of the gap (Davis and Kahan, SIAM J. Numer. Anal. 7, 1970).
/// @param norm  ‖C‖₂   @param gap  λ_k−1 − λ_k       @return  infinite where the gap is too small
double subspace_bound(int64_t n, double norm, double gap);

/// A X = B by Cholesky, A (n, n) float64 symmetric positive: X is exact for a matrix that is
/// n·γ_{3n+1}·‖A‖₂ from A (Theorem 10.4 and (10.7)), so that ‖A X − B‖ ≤ κ·n·γ_{3n+1}·‖B‖ and X is
/// off by as much of itself, column by column, to first order.
/// @param condition  κ₂(A)
double solve_bound(int64_t n, double condition);

/// An allowance, no bound: how far two evaluations of one decoder may lie apart, relative to the
/// largest logit. A sum of n terms is off by √n·u rather than n·u (Higham and Mary, SIAM J. Sci.
/// Comput. 41, 2019), such errors come in at embedding, head and every sublayer, and the norms keep
/// them from growing; 8 for sums that cancel and for what the sublayers amplify after all. A half
/// type rounds some ten times a sublayer besides, which adds up like √10. The tiny models of the
/// tests differ by a thirtieth of this, and by an eighth of it in half types, on every code path.
double network_allowance(int64_t widest, int64_t sublayers, at::ScalarType dtype);
double network_allowance(const ModelConfig& config, at::ScalarType dtype);

/// An allowance of float64 networks that compute the same function with other weights (fused,
/// rotated, sliced where nothing is lost), relative to the largest logit. They differ by 1e-15 to
/// 1e-13; to leave anything out costs 1e-6 and more.
constexpr double kSameFunction = 1e-9;
/// The same of models whose bases were found twice, from covariances that were summed in other
/// orders: eigenvectors turn by their rounding over a gap, which is 1e-4 and more here.
constexpr double kSameSlicing = 1e-8;

}  // namespace slice::tests
