#pragma once

#include <string>

#include "libslice/base/detail/input_file.h"

namespace slice::detail {

/// What a file that is no model in a format of ours is instead, from its first bytes, and what to
/// do about it: "a tar archive: unpack it". Empty where they say nothing.
/// @throws FormatError  it cannot be read
std::string file_kind(const InputFile& file);

}  // namespace slice::detail
