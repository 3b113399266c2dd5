#include "libslice/text/detail/byte_alphabet.h"

#include "libslice/base/detail/unicode.h"

namespace slice::detail {
namespace {

bool is_own_character(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
}

constexpr int kCharacters = 0x144;  // one past the last character of the alphabet

std::array<int16_t, kCharacters> bytes_of_characters() {
  std::array<int16_t, kCharacters> bytes;
  bytes.fill(-1);
  for (int byte = 0; byte < 256; ++byte) bytes[byte_alphabet()[byte]] = static_cast<int16_t>(byte);
  return bytes;
}

std::optional<int> hexadecimal(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return std::nullopt;
}

}  // namespace

const std::array<char32_t, 256>& byte_alphabet() {
  static const std::array<char32_t, 256> alphabet = [] {
    std::array<char32_t, 256> characters;
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      characters[byte] = is_own_character(byte) ? static_cast<char32_t>(byte) : next++;
    }
    return characters;
  }();
  return alphabet;
}

std::string bytes_of_token(std::string_view token) {
  static const std::array<int16_t, kCharacters> bytes = bytes_of_characters();
  std::string result;
  for (size_t offset = 0; offset < token.size();) {
    const char32_t character = next_character(token, offset);
    if (character >= kCharacters || bytes[character] < 0) return std::string(token);
    result += static_cast<char>(bytes[character]);
  }
  return result;
}

std::optional<uint8_t> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto high = hexadecimal(token[3]), low = hexadecimal(token[4]);
  if (!high || !low) return std::nullopt;
  return static_cast<uint8_t>(*high * 16 + *low);
}

}  // namespace slice::detail
