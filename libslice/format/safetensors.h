#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace slice {

namespace detail {
class MappedFile;
class OutputFile;
}  // namespace detail

/// A safetensors file, memory-mapped. The header is checked whole on opening; a tensor is copied
/// out only when asked for.
class SafetensorsFile {
 public:
  struct Entry {
    at::ScalarType dtype;
    std::vector<int64_t> shape;
    uint64_t begin, end;  ///< bytes from the start of the file
  };

  /// @throws FormatError  missing or unreadable file; header longer than 100 MB or than the file;
  /// not
  ///         JSON; unknown dtype; negative or overflowing shape; end − begin ≠ numel × size; a
  ///         range outside the file; two tensors that overlap; bytes that no tensor owns.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, Entry>& tensors() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// Copies one tensor out of the mapping. @return CPU, contiguous, stored dtype, its own memory.
  /// @throws FormatError  no such tensor.
  at::Tensor read(const std::string& name) const;
  /// The same of rows begin … end of a tensor's first dimension.
  at::Tensor read(const std::string& name, int64_t begin, int64_t end) const;

 private:
  /// The bytes first … last of a tensor's file as a tensor of this shape.
  at::Tensor copied(const std::string& name, const Entry& entry, uint64_t first, uint64_t last,
                    at::IntArrayRef shape) const;

  std::shared_ptr<const detail::MappedFile> file_;  // copies share it
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Writes one safetensors file whose tensors' shapes are known and whose values come later, one by
/// one: the header goes first, so no second copy of the weights is ever held.
class SafetensorsWriter {
 public:
  struct Slot {
    std::string name;
    at::ScalarType dtype;
    std::vector<int64_t> shape;
  };

  /// Creates `path` (which must not exist) with the header for `slots`, in this order, and
  /// `__metadata__: {"format": "pt"}`. @throws Error  cannot create or write (names the path and
  /// errno).
  SafetensorsWriter(const std::filesystem::path& path, std::vector<Slot> slots);

  /// Goes on with a file that an earlier writer of the same slots did not finish, behind its first
  /// `written` tensors. @throws Error  the file is missing, shorter than that, or another one
  SafetensorsWriter(const std::filesystem::path& path, std::vector<Slot> slots, size_t written);
  ~SafetensorsWriter();

  /// Writes the next slot's tensor, any device, converted to the slot's dtype. The order is the
  /// slots'.
  /// @throws ArgumentError  `name` is not the next slot's
  /// @throws ShapeError     the shape is not the slot's      @throws Error  no space left
  /// @throws DtypeError     not a dtype that converts to the slot's
  /// @throws NumericError   a finite value overflows the slot's dtype
  void write(const std::string& name, const at::Tensor& tensor);

  /// The same, in rows of its first dimension that come one after another, at most `step` at a
  /// time.
  /// @param rows  begin … end of a tensor of the slot's shape and dtype, any device
  void write(const std::string& name, int64_t step,
             const std::function<at::Tensor(int64_t begin, int64_t end)>& rows);

  /// Returns when everything written is on the disk. @throws Error
  void sync();

  /// Flushes to the disk (fsync) and closes. @throws Error  a slot was never written.
  void finish();

  /// Size of a file of these slots of which the first `written` are there.
  static uint64_t bytes(const std::vector<Slot>& slots, size_t written);

 private:
  /// The next slot. @throws ArgumentError  it has another name
  const Slot& next(const std::string& name) const;

  std::filesystem::path path_;
  std::vector<Slot> slots_;
  size_t next_ = 0;
  std::unique_ptr<detail::OutputFile> out_;
};

}  // namespace slice
