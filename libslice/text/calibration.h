#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libslice/text/text_file.h"
#include "libslice/text/tokenizer.h"

namespace slice {

/// Which windows of a long text are used.
enum class WindowOrder {
  kSpread,  ///< evenly over the whole text
  kFirst,   ///< the first N
};

struct WindowOptions {
  int64_t context = 2048;                         ///< T, tokens per window
  std::optional<int64_t> samples = std::nullopt;  ///< N at most; all that fit when absent
  WindowOrder order = WindowOrder::kSpread;
  /// The beginning-of-sequence token once before the text; absent: the tokenizer's rule.
  std::optional<bool> bos = std::nullopt;
};

/// The windows of a file: tokenize_text() of what encode_file() gives. @throws  as both
at::Tensor tokenize_file(const Tokenizer& tokenizer, const std::string& path,
                         const WindowOptions& options = {});

/// All tokens of a file, uncut: what encode_file() gives, after the beginning-of-sequence token by
/// `bos` as in WindowOptions. @return (n ≥ 2) int64, CPU
/// @throws ArgumentError  fewer than 2 tokens    @throws FormatError  as encode_file; no such token
at::Tensor tokenize_whole_file(const Tokenizer& tokenizer, const std::string& path,
                               std::optional<bool> bos = std::nullopt);

/// Encodes a whole text and cuts it into consecutive, non-overlapping windows; the rest is dropped.
/// @return (N, T) int64, CPU. N is less than asked for when the text is short.
/// @throws ArgumentError  fewer tokens than one context (gives both), context < 2, samples < 1
/// @throws FormatError    not UTF-8; `bos` asked for from a tokenizer without one
at::Tensor tokenize_text(const Tokenizer& tokenizer, std::string_view text,
                         const WindowOptions& options = {});

/// Of all windows (N, T) of a text those that `options` selects: at most `samples`, by its order.
/// @return  (n, T). @throws ArgumentError  samples < 1
at::Tensor select_windows(const at::Tensor& windows, const WindowOptions& options);

/// Windows of several texts, one of each in turn.
struct MixedWindows {
  at::Tensor tokens;             ///< (N, T) int64, CPU
  std::vector<int64_t> text_of;  ///< (N): of every window, the number of its text
  std::vector<int64_t> wanted;   ///< windows asked of each text; 0: it was not read
  std::vector<int64_t> found;    ///< windows it gave, fewer where it is short
};

/// Windows of several texts for one calibration. Every text gives the same share of the samples
/// (the first ones one more where the division leaves a rest), and their windows take turns, so
/// that any part of the rows holds some of every text.
///
/// @param paths    what encode_file reads, one text after the other
/// @param options  for each text; `samples` counts the windows of all
/// @param blank    the text whose path is not read and whose windows are zeros, for the caller to
///                 write; `samples` says how many
/// @throws ArgumentError  no path; as tokenize_text
/// @throws FormatError    as encode_file and tokenize_text
MixedWindows mix_windows(const Tokenizer& tokenizer, std::span<const std::string> paths,
                         const WindowOptions& options = {},
                         std::optional<int64_t> blank = std::nullopt);

}  // namespace slice
