#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace slice::detail {

/// What a file that is no model in a format of ours is instead, from its first bytes, and what to
/// do about it: "a tar archive: unpack it". Empty where they say nothing.
std::string file_kind(std::span<const std::byte> bytes);

}  // namespace slice::detail
