#pragma once

#include <string_view>

namespace slice::detail {

/// The text of libslice/checkpoint/python/modeling_sliced.py: written beside the weights of a sliced
/// model, under the name that models::modeling_module gives it.
std::string_view modeling_sliced();

}  // namespace slice::detail
