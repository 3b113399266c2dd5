#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "libslice/format/safetensors.h"

namespace slice::detail {

/// Files of a resume journal are safetensors files whose last tensor is the SHA-256, in
/// hexadecimal, of all bytes before it: what another program or a disk did to one is noticed.

/// The slot of that tensor, to be written last, with unsealed().
SafetensorsWriter::Slot seal_slot();
at::Tensor unsealed();
/// Puts the hash in its place, in a file that is otherwise whole, and syncs it; reads it once.
void seal(const std::filesystem::path& path);
/// @throws FormatError  a file that was never sealed, or was changed after it was
SafetensorsFile open_sealed(const std::filesystem::path& path);

/// @throws FormatError  no tensor of this name and shape; names the file, `path`
void check_entry(const SafetensorsFile& file, const std::string& name, at::IntArrayRef shape,
                 const std::filesystem::path& path);

/// 64 characters as a tensor of bytes, and back.
at::Tensor hash_tensor(const std::string& hash);
std::string hash_text(const SafetensorsFile& file, const std::string& name);

/// The number between `before` and `after`, which are all the rest of `name`; nothing where that
/// is no number, so that files of other origin are left alone.
std::optional<int64_t> number_between(std::string_view name, std::string_view before,
                                      std::string_view after);

}  // namespace slice::detail
