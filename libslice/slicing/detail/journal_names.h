#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "libslice/base/detail/formatted.h"
#include "libslice/slicing/detail/journal_file.h"

namespace slice::detail {

// Names of a resume journal's files, and of the tensors in them.

inline constexpr char kRun[] = "run.json", kGradients[] = "gradients.safetensors",
                      kPlan[] = "plan.safetensors", kUnfinished[] = ".tmp", kNumbers[] = "numbers";

inline std::string basis_name(int64_t site) { return formatted("site.{}.basis", site); }
inline std::string numbers_name(int64_t site) { return formatted("site.{}.numbers", site); }
inline std::string gamma_name(int64_t site) { return formatted("site.{}.gamma", site); }
inline std::string hash_name(int64_t layer) { return formatted("layer.{}.sha256", layer); }
inline std::string chunk_name(const std::string& signal) { return signal + ".chunk_tokens"; }

/// 7 of "layer-00007.safetensors".
inline std::optional<int64_t> layer_in(const std::string& file, const std::string& name) {
  return number_between(file, name + "-", ".safetensors");
}

}  // namespace slice::detail
