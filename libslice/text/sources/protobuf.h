#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace slice::detail {

/// Walks through the fields of one protocol-buffer message and never past its end. A nested message
/// is a text that a reader of its own walks through.   (Protocol Buffers, "Encoding")
class ProtobufReader {
 public:
  /// @param message  must outlive the reader. @param where  file and place, for messages.
  ProtobufReader(std::string_view message, std::string where)
      : rest_(message), where_(std::move(where)) {}

  /// Moves to the next field; false at the end of the message.
  /// @throws FormatError  truncated, a field number 0, or a wire type other than numbers and texts.
  bool next();
  uint64_t field() const { return field_; }
  const std::string& where() const { return where_; }

  /// The value of the field reached. @param name  for messages.
  /// @throws FormatError  it is of another wire type.
  int64_t integer(const char* name) const;
  bool flag(const char* name) const { return integer(name) != 0; }
  float real(const char* name) const;
  std::string_view text(const char* name) const;

 private:
  uint64_t read_varint();
  std::string_view take(uint64_t size);
  void want(uint64_t wire_type, const char* name) const;

  std::string_view rest_;
  std::string where_;
  uint64_t field_ = 0, wire_type_ = 0;
  uint64_t number_ = 0;    // varints
  std::string_view text_;  // the bytes of everything else
};

}  // namespace slice::detail
