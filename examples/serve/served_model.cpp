#include "examples/serve/served_model.h"

#include <cstdio>
#include <span>

#include "examples/serve/fields.h"

namespace serve {
namespace {

bool is_utf8(const std::string& text) {
  try {
    static_cast<void>(Json(text).dump());
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

}  // namespace

std::string token_bytes(const ServedModel& model, int64_t id) {
  const std::string& bytes = model.bytes->bytes(id);
  return bytes.empty() ? model.tokenizer->decode(std::span(&id, 1), /*special=*/true) : bytes;
}

std::string token_text(const ServedModel& model, int64_t id) {
  std::string bytes = token_bytes(model, id);
  if (is_utf8(bytes)) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) {
    char byte[8];
    std::snprintf(byte, sizeof byte, "\\x%02x", static_cast<unsigned>(static_cast<uint8_t>(c)));
    text += byte;
  }
  return text;
}

}  // namespace serve
