#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace serve {

/// Whether an Authorization header shows one of the keys ("Bearer KEY"); true where there are none.
/// The time it takes says nothing of how much of a key was right.
bool is_authorized(std::string_view header, const std::vector<std::string>& keys);

}  // namespace serve
