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
class InputFile;
class OutputFile;
}  // namespace detail

/// A safetensors file. All of the header is checked on opening; a tensor is copied
/// out only when asked for.
class SafetensorsFile {
 public:
  struct Entry {
    at::ScalarType dtype;
    std::vector<int64_t> shape;
    uint64_t begin, end;  ///< bytes from the start of the file
  };

  /// @throws FormatError  missing or unreadable file; header longer than 100 MB or than the file;
  ///                      not JSON; a duplicate key; unknown dtype; negative or overflowing shape;
  ///                      end − begin ≠ numel × size; a range outside the file; two tensors that
  ///                      overlap; bytes that belong to no tensor
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, Entry>& tensors() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// Copies one tensor out of the file. @return  CPU, contiguous, stored dtype, its own memory
  /// @throws FormatError  no such tensor; the file was changed since it was opened
  at::Tensor read(const std::string& name) const;
  /// The same for rows begin … end − 1 of a tensor's first dimension.
  at::Tensor read(const std::string& name, int64_t begin, int64_t end) const;

 private:
  /// Bytes first … last − 1 of the file, a part of a tensor, as a tensor of this shape.
  at::Tensor copied(const std::string& name, const Entry& entry, uint64_t first, uint64_t last,
                    at::IntArrayRef shape) const;

  std::shared_ptr<const detail::InputFile> file_;  // copies share it
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Writes one safetensors file: shapes are known at the beginning and values come one tensor at a
/// time, so the header is written first and no second copy of the weights is ever held.
class SafetensorsWriter {
 public:
  struct Slot {
    std::string name;
    at::ScalarType dtype;
    std::vector<int64_t> shape;
  };

  /// Creates `path`, which must not exist, with the header for `slots`, in this order, and
  /// `__metadata__: {"format": "pt"}`.
  /// @throws Error  cannot create or write it (names the path and errno's text)
  SafetensorsWriter(const std::filesystem::path& path, std::vector<Slot> slots);

  /// Resumes a file that an earlier writer of the same slots did not finish, after its first
  /// `written` tensors.
  /// @throws Error  the file is missing, shorter than that, or has another header
  SafetensorsWriter(const std::filesystem::path& path, std::vector<Slot> slots, size_t written);
  ~SafetensorsWriter();
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;

  /// Writes the tensor of the next slot, any device, converted to the slot's dtype.
  /// @throws ArgumentError  `name` is not the next slot's
  /// @throws ShapeError     the shape is not the slot's      @throws Error  no space left
  /// @throws DtypeError     not a dtype that converts to the slot's
  /// @throws NumericError   a finite value overflows the slot's dtype
  void write(const std::string& name, const at::Tensor& tensor);

  /// The same in pieces: rows of its first dimension, at most `step` at a time.
  /// @param rows  gives rows begin … end − 1 of a tensor of the slot's shape and dtype, any device
  void write(const std::string& name, int64_t step,
             const std::function<at::Tensor(int64_t begin, int64_t end)>& rows);

  /// Returns when everything written is on the disk. @throws Error
  void sync();

  /// Syncs the file to the disk and closes it. @throws Error  a slot was never written
  void finish();

  /// Size of a file that has the header of these slots and the first `written` tensors.
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
