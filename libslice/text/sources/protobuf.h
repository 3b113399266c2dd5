#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace slice::detail {

/// The fields of one protocol-buffer message, decoded by protozero; what it throws becomes a
/// FormatError that names the file. A nested message is a text with a reader of its own.
///   (Protocol Buffers, "Encoding")
class ProtobufReader {
 public:
  /// @param message  must outlive the reader
  /// @param where    file and place, for messages
  ProtobufReader(std::string_view message, std::string where)
      : rest_(message), where_(std::move(where)) {}

  /// Moves to the next field; false at the end of the message.
  /// @throws FormatError  truncated, a field number that does not exist, a wire type other than
  ///                      numbers and texts
  bool next();
  uint32_t field() const { return field_; }
  const std::string& where() const { return where_; }

  /// The value of the current field. @param name  for messages.
  /// @throws FormatError  it is of another wire type
  int64_t integer(const char* name) const;
  bool flag(const char* name) const { return integer(name) != 0; }
  float real(const char* name) const;
  std::string_view text(const char* name) const;

 private:
  void want(uint32_t wire_type, const char* name) const;

  std::string_view rest_;
  std::string where_;
  uint32_t field_ = 0, wire_type_ = 0;
  uint64_t number_ = 0;    // of a varint or 32 bits
  std::string_view text_;  // of a text
};

}  // namespace slice::detail
