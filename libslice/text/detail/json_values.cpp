#include "libslice/text/detail/json_values.h"

#include <utility>

#include "libslice/base/detail/check.h"

namespace slice::detail {
namespace {

constexpr size_t kMostRecord = size_t{256} << 20;
constexpr char kByteOrderMark[] = "\xef\xbb\xbf";

bool is_space(int c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

JsonValues::JsonValues(std::unique_ptr<ByteSource> source, std::string path)
    : source_(std::move(source)), path_(std::move(path)), buffer_(size_t{1} << 16) {
  for (size_t i = 0; kByteOrderMark[i] != '\0'; ++i) {
    if (peek() != static_cast<unsigned char>(kByteOrderMark[i])) break;
    take();
  }
}

std::string JsonValues::where() const {
  const std::string line = formatted("{}: line {}", path_, value_line_);
  return record_ == 0 ? line : formatted("{}, record {}", line, record_);
}

int JsonValues::peek() {
  if (begin_ == end_) {
    begin_ = 0;
    end_ = source_->read(buffer_.data(), buffer_.size());
    if (end_ == 0) return -1;
  }
  return static_cast<unsigned char>(buffer_[begin_]);
}

int JsonValues::take() {
  const int c = peek();
  if (c < 0) return c;
  ++begin_;
  line_ += c == '\n' ? 1 : 0;
  return c;
}

void JsonValues::skip_space() {
  while (is_space(peek())) take();
}

bool JsonValues::enter_element(int first) {
  if (first == ']' && record_ == 0) return false;
  if (record_ > 0) {
    SLICE_FORMAT_CHECK(first == ',' || first == ']',
                       "{}: line {}: not JSON: want a comma or the array's end after record {}",
                       path_, line_, record_);
    if (first == ']') return false;
    take();
    skip_space();
  }
  ++record_;
  return true;
}

bool JsonValues::next() {
  for (;;) {
    skip_space();
    if (!in_array_ && peek() == '[') {
      take();
      in_array_ = true;
      record_ = 0;
      skip_space();
    }
    if (!in_array_ && peek() < 0) return false;
    if (!in_array_ || enter_element(peek())) break;
    take();
    in_array_ = false;
    record_ = 0;
  }
  value_line_ = line_;
  take_value();
  return true;
}

void JsonValues::take_value() {
  text_.clear();
  int depth = 0;
  bool in_string = false;
  for (int c = peek(); c >= 0; c = peek()) {
    if (!in_string && depth == 0 && !text_.empty() && (is_space(c) || c == ',' || c == ']')) return;
    SLICE_FORMAT_CHECK(text_.size() < kMostRecord, "{}: a record of more than 256 MiB", where());
    if (in_string && c == '\n') return;  // a string that is not closed
    text_ += static_cast<char>(take());
    if (in_string) {
      if (c == '\\' && peek() >= 0 && peek() != '\n') text_ += static_cast<char>(take());
      if (c != '"') continue;
      in_string = false;
    } else if (c == '"') {
      in_string = true;
      continue;
    } else if (c == '{' || c == '[') {
      ++depth;
      continue;
    } else if (c == '}' || c == ']') {
      --depth;
    } else {
      continue;
    }
    if (depth <= 0) return;
  }
}

}  // namespace slice::detail
