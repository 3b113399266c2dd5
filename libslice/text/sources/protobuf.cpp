#include "libslice/text/sources/protobuf.h"

#include <bit>
#include <cstring>

#include "libslice/base/detail/check.h"

namespace slice::detail {
namespace {

static_assert(std::endian::native == std::endian::little, "floats are copied as they stand");

constexpr uint64_t kVarint = 0, kFixed64 = 1, kText = 2, kFixed32 = 5;

}  // namespace

bool ProtobufReader::next() {
  if (rest_.empty()) return false;
  const uint64_t key = read_varint();
  field_ = key >> 3;
  wire_type_ = key & 7;
  SLICE_FORMAT_CHECK(field_ > 0, "{}: malformed: a field with number 0", where_);
  switch (wire_type_) {
    case kVarint:
      number_ = read_varint();
      break;
    case kFixed64:
      text_ = take(8);
      break;
    case kText:
      text_ = take(read_varint());
      break;
    case kFixed32:
      text_ = take(4);
      break;
    default:
      throw FormatError(
          fmt::format("{}: malformed: field {} has wire type {}", where_, field_, wire_type_));
  }
  return true;
}

int64_t ProtobufReader::integer(const char* name) const {
  want(kVarint, name);
  return static_cast<int64_t>(number_);
}

float ProtobufReader::real(const char* name) const {
  want(kFixed32, name);
  float value;
  std::memcpy(&value, text_.data(), sizeof(value));
  return value;
}

std::string_view ProtobufReader::text(const char* name) const {
  want(kText, name);
  return text_;
}

uint64_t ProtobufReader::read_varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<uint8_t>(take(1)[0]);
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  throw FormatError(fmt::format("{}: malformed: a number of more than 10 bytes", where_));
}

std::string_view ProtobufReader::take(uint64_t size) {
  SLICE_FORMAT_CHECK(size <= rest_.size(), "{}: truncated: want {} more bytes, {} are left", where_,
                     size, rest_.size());
  const std::string_view bytes = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return bytes;
}

void ProtobufReader::want(uint64_t wire_type, const char* name) const {
  SLICE_FORMAT_CHECK(wire_type_ == wire_type, "{}: '{}': want wire type {}, got {}", where_, name,
                     wire_type, wire_type_);
}

}  // namespace slice::detail
