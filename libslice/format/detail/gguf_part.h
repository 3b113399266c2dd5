#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libslice/base/detail/input_file.h"
#include "libslice/format/gguf.h"

namespace slice::detail {

/// One file of GGUF: a whole model, or one of those that llama.cpp's gguf-split made of it.
struct GgufPart {
  std::shared_ptr<const InputFile> file;
  std::map<std::string, GgufFile::Value> metadata;
  std::map<std::string, GgufFile::Entry> entries;

  /// A whole number of the metadata; nothing when the key is missing.
  /// @throws FormatError  of another kind
  std::optional<int64_t> number(const std::string& key) const;
};

/// Opens a file and checks its header. @throws FormatError  as GgufFile
GgufPart read_gguf_part(const std::filesystem::path& path);

/// The parts of the split that `given` is one of, in order: NAME-00001-of-0000N.gguf and so on.
/// @throws FormatError  its name is not of that form; a part is missing, or says that it is another
///                      one; there are other tensors than the first part counts
std::vector<GgufPart> read_gguf_split(GgufPart given, int64_t count);

}  // namespace slice::detail
