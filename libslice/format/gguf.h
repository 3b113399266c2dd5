#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace slice {

namespace detail {
class MappedFile;
}

/// A GGUF v2 or v3 file (little-endian), memory-mapped. All of the metadata and of the tensor table
/// is checked on opening; a tensor is dequantised only when asked for. Types: F32 F16 BF16 Q4_0
/// Q4_1 Q5_0 Q5_1 Q8_0 Q2_K … Q6_K.        (source: the GGUF specification in the ggml repository)
class GgufFile {
 public:
  using Value = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<std::string>,
                             std::vector<int64_t>, std::vector<double>>;
  struct Entry {
    int32_t type;                ///< ggml type number
    std::vector<int64_t> shape;  ///< row-major, outermost first (the file stores the reverse)
    uint64_t begin, end;         ///< bytes from the start of the file
  };

  /// @throws FormatError  wrong magic or version; a count, string or array longer than the file;
  ///                      nested arrays; a duplicate key or tensor; an alignment that is not a
  ///                      power of two ≥ 8; an unknown tensor type (by name where known, e.g.
  ///                      IQ2_XS); a row that is not a multiple of its block; more than 4
  ///                      dimensions; a tensor outside the file, misaligned, or overlapping another
  explicit GgufFile(const std::filesystem::path& path);

  const std::map<std::string, Value>& metadata() const { return metadata_; }
  const std::map<std::string, Entry>& tensors() const { return entries_; }
  const std::filesystem::path& path() const;

  /// One metadata value as type T: bool, int64_t, double, std::string, std::vector<std::string>,
  /// std::vector<int64_t> or std::vector<double>. Integers convert to each other where they fit,
  /// and to double.
  /// @throws FormatError  the key is missing or of another kind
  template <typename T>
  T get(const std::string& key) const;
  /// The same; `otherwise` when the key is missing.
  template <typename T>
  T get(const std::string& key, T otherwise) const {
    return metadata_.contains(key) ? get<T>(key) : otherwise;
  }

  /// One tensor, dequantised. Cost: one pass over its bytes.
  /// @return  CPU, contiguous: float32 for quantised types, else the stored dtype
  /// @throws FormatError  no such tensor
  at::Tensor read(const std::string& name) const;

  /// Whether values of this ggml type are quantised in blocks: then `read` returns float32.
  static bool quantised(int32_t type);
  /// The dtype that `read` returns for a ggml type.
  static at::ScalarType read_dtype(int32_t type);

 private:
  std::shared_ptr<const detail::MappedFile> file_;  // copies share it
  std::map<std::string, Value> metadata_;
  std::map<std::string, Entry> entries_;
};

}  // namespace slice
