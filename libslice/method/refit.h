#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "libslice/method/covariance.h"

namespace slice {

/// Second moments of one sublayer over calibration tokens: of h (F), what its writers read, side by
/// side in a parallel block; x (k), the sliced signal before it; z (D), the dense model's signal
/// after it.
struct Moments {
  at::Tensor hh, hx, hz, xx;  ///< Σ hᵀh (F, F), Σ hᵀx (F, k), Σ hᵀz (F, D), Σ xᵀx (k, k); float64
  at::Tensor h, x, z;  ///< Σ h (F), Σ x (k), Σ z (D)
  double tokens = 0;   ///< Σ 1; where h is scaled (MomentSums), the 1 beside it is scaled too

  /// Those of some channels of h, (n) int64.
  Moments with_channels(const at::Tensor& kept) const;
  /// Those of x in another gauge, x U: U (k, k) orthogonal.
  Moments turned(const at::Tensor& U) const;
};

Moments operator+(const Moments& a, const Moments& b);

/// Moments of the windows that are fitted from the first, all texts together, and of those that
/// choices are made on, text by text. (docs/method.md, "Calibration")
struct SplitMoments {
  Moments fit;
  std::vector<Moments> choose;  ///< empty where there are too few windows

  Moments all() const;
  SplitMoments with_channels(const at::Tensor& kept) const;
  SplitMoments turned(const at::Tensor& U) const;
};

/// Sums moments as a Covariance does: fixed blocks, a float64 master.
class MomentSums {
 public:
  MomentSums(int64_t F, int64_t k, int64_t D);
  /// @param h (…, F)   @param x (…, k)   @param z (…, D)      one dtype, same leading dimensions
  /// @param scale  (…, 1) of each token, by which h and the constant 1 beside it are multiplied,
  ///               rounded to their dtype; undefined: 1
  void accumulate(const at::Tensor& h, const at::Tensor& x, const at::Tensor& z,
                  const at::Tensor& scale = {});
  /// What every token counts from now on, > 0; 1 at first.
  void set_weight(double weight) { joint_.set_weight(weight); }
  /// Of a group: over the tokens of all ranks, each of which accumulated a signal, which may be
  /// empty.
  Moments moments(const ProcessGroup& group = {});

 private:
  int64_t F_, k_, D_, padding_;
  Covariance joint_;  // of [h | x | z | 1 | 0…]
};

/// C = Σ zᵀz of the sliced model's own signal after the sublayer, in the original basis:
///   z = x Pᵀ + h Wᵀ + b                                           (docs/method.md, "Slicing")
/// @param P (D, k)   @param W (D, F)   @param b (D) or undefined      float64  @return  (D, D)
at::Tensor signal_covariance(const Moments& m, const at::Tensor& P, const at::Tensor& W,
                             const at::Tensor& b);

/// The writers of a sublayer, side by side.
struct Writer {
  at::Tensor weight;  ///< (k, F) float64
  at::Tensor bias;    ///< (k) float64, or undefined
};

struct Refit {
  Writer writer;
  double ridge = 0;
};

/// The writer that comes nearest to the dense model's signal, given the sliced one it adds to:
///
///   B = argmin ‖a Bᵀ + x S − z P‖² + ρ·mean diag(aᵀa)·‖B − B₀‖²,  a = [h 1], B = [W b]
///                                                                 (docs/method.md, "Refit")
///
/// so that errors of the sublayers before it are repaired here. Each candidate ρ is fitted without
/// the windows for choices; with the one that is chosen all are fitted. On a text d it explains
/// e_d(ρ) of the target's energy, at best e_d*; the chosen one loses least on the text on which it
/// loses most:
///   ρ = argmin max_d (e_d* − e_d(ρ)) / e_d*
/// Of one text that is the least error.
///
/// @param moments  where there are none for choices, a candidate in the middle is taken
/// @param start    W₀ (k', F), b₀: the sliced writer, towards which the ridge pulls
/// @param P        (D, k') basis after the sublayer; undefined: the identity
/// @param S        (k, k') shortcut; undefined: the identity, x padded with zeros to k'
/// @throws NumericError  the moments are not positive, or not finite
/// Cost: a Cholesky factorisation O(F³) and a solve O(F²·k') a candidate, O(F²·k') a text of each;
/// two matrices (F, F) beside the moments.
Refit refit_writer(const SplitMoments& moments, const Writer& start, const at::Tensor& P,
                   const at::Tensor& S);

/// The same writer, fitted with a given ridge to the tokens of `m` alone.
/// @throws NumericError  as refit_writer
Writer solve_writer(const Moments& m, const Writer& start, const at::Tensor& P, const at::Tensor& S,
                    double ridge);

/// Checks X = (A + shift·I)⁻¹ B on one combination of its columns, with coefficients v that are fixed
/// and all different:
///
///   ‖(A + shift·I) X v − B v‖ ≤ ε ((‖A‖ + shift) ‖X‖ + ‖B‖) ‖v‖,   ε = 1000·n·2⁻⁵³
///
/// @throws NumericError  it is none        Cost: O(n² + n·m) for A (n, n) and B (n, m).
void check_solution(const at::Tensor& A, const at::Tensor& B, const at::Tensor& X, double shift);

/// (A + ridge·mean diag(A)·I)⁻¹ B for a symmetric positive A (n, n), float64; A is overwritten.
at::Tensor ridge_solve(at::Tensor A, const at::Tensor& B, double ridge);
/// (A + ridge·mean diag(A)·I)⁻¹; A is overwritten.
at::Tensor ridge_inverse(at::Tensor A, double ridge);

}  // namespace slice
