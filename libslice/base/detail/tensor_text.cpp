#include "libslice/base/detail/tensor_text.h"

namespace slice::detail {

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return "float64";
    case at::kFloat:
      return "float32";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    default:
      return c10::toString(dtype);
  }
}

std::string joined(at::IntArrayRef numbers, const std::string& between) {
  std::string text;
  for (const int64_t number : numbers)
    text += (text.empty() ? "" : between) + std::to_string(number);
  return text;
}

std::string describe(at::IntArrayRef shape) { return "(" + joined(shape, ", ") + ")"; }

std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  std::string text = describe(tensor.sizes()) + " " + dtype_name(tensor.scalar_type());
  if (!tensor.device().is_cpu()) text += " on " + tensor.device().str();
  return text;
}

}  // namespace slice::detail
