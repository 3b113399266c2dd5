#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace slice::detail {

/// GPT-2's printable alphabet of the 256 bytes: printable Latin-1 bytes are their own characters,
/// the others become U+0100 and following.   (openai/gpt-2, encoder.py)
const std::array<char32_t, 256>& byte_alphabet();

/// A token in that alphabet back to its bytes; the token itself where it has a character outside
/// the alphabet.
std::string bytes_of_token(std::string_view token);

/// NN of a token `<0xNN>`.
std::optional<uint8_t> byte_of_token(std::string_view token);

}  // namespace slice::detail
