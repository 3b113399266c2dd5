#include "libslice/text/sources/protobuf.h"

#include <bit>
#include <limits>
#include <protozero/exception.hpp>
#include <protozero/pbf_reader.hpp>
#include <protozero/varint.hpp>

#include "libslice/base/detail/check.h"

namespace slice::detail {
namespace {

using Wire = protozero::pbf_wire_type;

constexpr auto kVarint = static_cast<uint32_t>(Wire::varint);
constexpr auto kText = static_cast<uint32_t>(Wire::length_delimited);
constexpr auto kFixed32 = static_cast<uint32_t>(Wire::fixed32);

// protozero cuts keys and lengths to 32 bits without a word, so a length of 2³² + 1 would pass for 1.
void check_32_bits(const protozero::pbf_reader& rest, const char* what, const std::string& where) {
  const char* begin = rest.data().data();
  const uint64_t value = protozero::decode_varint(&begin, begin + rest.length());
  SLICE_FORMAT_CHECK(value <= std::numeric_limits<uint32_t>::max(),
                     "{}: truncated or malformed: a {} of {}", where, what, value);
}

}  // namespace

bool ProtobufReader::next() {
  if (rest_.empty()) return false;
  protozero::pbf_reader rest(rest_.data(), rest_.size());
  try {
    check_32_bits(rest, "field key", where_);
    rest.next();
    field_ = rest.tag();
    wire_type_ = static_cast<uint32_t>(rest.wire_type());
    if (wire_type_ == kVarint) {
      number_ = rest.get_uint64();
    } else if (wire_type_ == kFixed32) {
      number_ = rest.get_fixed32();
    } else if (wire_type_ == kText) {
      check_32_bits(rest, "length", where_);
      const protozero::data_view text = rest.get_view();
      text_ = {text.data(), text.size()};
    } else {
      rest.skip();
    }
  } catch (const protozero::invalid_tag_exception&) {
    throw FormatError(
        detail::formatted("{}: malformed: a field with number {}", where_, rest.tag()));
  } catch (const protozero::unknown_pbf_wire_type_exception&) {
    throw FormatError(detail::formatted("{}: malformed: field {} has wire type {}", where_,
                                        rest.tag(), static_cast<uint32_t>(rest.wire_type())));
  } catch (const protozero::varint_too_long_exception&) {
    throw FormatError(detail::formatted("{}: malformed: a number of more than 10 bytes", where_));
  } catch (const protozero::exception&) {
    throw FormatError(detail::formatted("{}: truncated: want a whole field, {} bytes are left",
                                        where_, rest_.size()));
  }
  rest_.remove_prefix(rest_.size() - rest.length());
  return true;
}

int64_t ProtobufReader::integer(const char* name) const {
  want(kVarint, name);
  return static_cast<int64_t>(number_);
}

float ProtobufReader::real(const char* name) const {
  want(kFixed32, name);
  return std::bit_cast<float>(static_cast<uint32_t>(number_));
}

std::string_view ProtobufReader::text(const char* name) const {
  want(kText, name);
  return text_;
}

void ProtobufReader::want(uint32_t wire_type, const char* name) const {
  SLICE_FORMAT_CHECK(wire_type_ == wire_type, "{}: '{}': want wire type {}, got {}", where_, name,
                     wire_type, wire_type_);
}

}  // namespace slice::detail
