#include "libslice/format/detail/safetensors_dtype.h"

#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice::detail {
namespace {

using Word = std::pair<const char*, c10::ScalarType>;

constexpr Word kWritten[] = {{"F64", c10::kDouble},    {"F32", c10::kFloat}, {"F16", c10::kHalf},
                             {"BF16", c10::kBFloat16}, {"I64", c10::kLong},  {"I32", c10::kInt},
                             {"I16", c10::kShort},     {"I8", c10::kChar},   {"U8", c10::kByte},
                             {"BOOL", c10::kBool}};
constexpr Word kOthers[] = {{"U16", c10::kUInt16},          {"U32", c10::kUInt32},
                            {"U64", c10::kUInt64},          {"F8_E4M3", c10::kFloat8_e4m3fn},
                            {"F8_E5M2", c10::kFloat8_e5m2}, {"F8_E8M0", c10::kFloat8_e8m0fnu}};

}  // namespace

c10::ScalarType safetensors_dtype(const std::string& word, const std::string& where) {
  for (const auto& [known, dtype] : kWritten)
    if (word == known) return dtype;
  for (const auto& [known, dtype] : kOthers)
    if (word == known) return dtype;
  throw FormatError(formatted("{}: dtype '{}' is not supported", where, word));
}

std::string safetensors_name(c10::ScalarType dtype) {
  for (const auto& [word, known] : kWritten)
    if (dtype == known) return word;
  throw DtypeError(formatted("safetensors: cannot store {}", dtype_name(dtype)));
}

}  // namespace slice::detail
