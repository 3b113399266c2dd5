#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "libslice/text/detail/byte_source.h"

namespace slice::detail {

/// Splits a file of JSON into records, one in memory at a time: values after one another (JSON
/// lines) or the elements of one array. A byte-order mark is skipped.
class JsonValues {
 public:
  /// @param path  for messages
  JsonValues(std::unique_ptr<ByteSource> source, std::string path);

  /// Takes the next value into text() and where(); false at the end. What is no JSON comes as it
  /// is, for its parser to refuse.
  /// @throws FormatError  an array that is malformed, a record of more than 256 MiB
  bool next();
  const std::string& text() const { return text_; }
  /// "c4.json: line 3", in an array "squad.json: line 3, record 2".
  std::string where() const;

 private:
  int peek();  // −1 at the end
  int take();
  void skip_space();
  bool enter_element(int first);  // of the array; false where the array ends
  void take_value();

  std::unique_ptr<ByteSource> source_;
  std::string path_, text_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  bool in_array_ = false;
  int64_t line_ = 1, value_line_ = 1, record_ = 0;  // of the array
};

}  // namespace slice::detail
