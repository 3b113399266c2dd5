#include "libslice/model/families/gguf_xielu.h"

#include <ATen/ATen.h>

#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/model/families/family.h"

namespace slice::models {

std::vector<GgufList> gguf_lists(const ModelConfig& c) {
  if (c.activation != Activation::kXielu) return {};
  const Names& names = family(c.family).names;
  std::vector<GgufList> lists;
  for (const auto& [constant, shape] :
       {std::pair("alpha_n", std::vector<int64_t>{1}),
        std::pair("alpha_p", std::vector<int64_t>{1}), std::pair("beta", std::vector<int64_t>{}),
        std::pair("eps", std::vector<int64_t>{})}) {
    GgufList& list = lists.emplace_back();
    list.key = std::string("xielu.") + constant;
    list.shape = shape;
    for (int64_t layer = 0; layer < c.layers; ++layer)
      list.parameters.push_back(
          detail::formatted("{}.{}.{}.{}", names.layers, layer, names.xielu, constant));
  }
  return lists;
}

std::map<std::string, at::Tensor> parse_gguf_lists(const GgufFile& file, const ModelConfig& c) {
  std::map<std::string, at::Tensor> constants;
  for (const auto& [key, parameters, shape] : gguf_lists(c)) {
    const auto found = file.metadata().find(key);
    const bool one =
        found != file.metadata().end() && std::holds_alternative<double>(found->second);
    const auto values = one ? std::vector<double>(parameters.size(), file.get<double>(key))
                            : file.get<std::vector<double>>(key);
    SLICE_FORMAT_CHECK(values.size() == parameters.size(), "{}: {}: want {} numbers, got {}",
                       file.path().string(), key, parameters.size(), values.size());
    for (size_t layer = 0; layer < values.size(); ++layer)
      constants.emplace(parameters[layer], at::full(shape, values[layer], at::kFloat));
  }
  return constants;
}

}  // namespace slice::models
