#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace slice {

namespace detail {
class InputFile;
}

/// A GGUF v2 or v3 file (little-endian), or all files of a model that gguf-split cut up, given by
/// any of them. All of the metadata and of the tensor table
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
    size_t part = 0;             ///< which file of a split model
  };

  /// @throws FormatError  wrong magic or version; a count, string or array longer than the file;
  ///                      nested arrays; a duplicate key or tensor; an alignment that is not a
  ///                      power of two ≥ 8; an unknown tensor type (by name where known, e.g.
  ///                      IQ2_XS); a row that is not a multiple of its block; more than 4
  ///                      dimensions; a tensor outside the file, misaligned, or overlapping another;
  ///                      a split model whose other files are missing or are not its own
  explicit GgufFile(const std::filesystem::path& path);

  const std::map<std::string, Value>& metadata() const { return metadata_; }
  const std::map<std::string, Entry>& tensors() const { return entries_; }
  /// As it was given.
  const std::filesystem::path& path() const { return path_; }
  /// The file, or all files of a split model in order.
  std::vector<std::filesystem::path> files() const;

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
  /// @throws FormatError  no such tensor; the file was changed since it was opened
  at::Tensor read(const std::string& name) const;
  /// The same for rows begin … end − 1 of a matrix.
  at::Tensor read(const std::string& name, int64_t begin, int64_t end) const;

  /// Whether values of this ggml type are quantised in blocks: then `read` returns float32.
  static bool quantised(int32_t type);
  /// The dtype that `read` returns for a ggml type.
  static at::ScalarType read_dtype(int32_t type);
  /// ggml's name of the type, "Q4_K".
  static std::string type_name(int32_t type);

 private:
  const Entry& entry(const std::string& name) const;
  /// Bytes first … last − 1 of its file, whole rows of a tensor, as a tensor of this shape.
  at::Tensor copied(const std::string& name, uint64_t first, uint64_t last,
                    at::IntArrayRef shape) const;

  std::filesystem::path path_;
  std::vector<std::shared_ptr<const detail::InputFile>> files_;  // copies share them
  std::map<std::string, Value> metadata_;
  std::map<std::string, Entry> entries_;
};

}  // namespace slice
