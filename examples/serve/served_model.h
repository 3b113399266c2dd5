#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "libslice/text/token_bytes.h"
#include "libslice/text/tokenizer.h"

namespace slice {
class Engine;
}

namespace serve {

/// The model that requests are answered by. Immutable, but for the engine's work.
struct ServedModel {
  std::string name;
  std::shared_ptr<const slice::Tokenizer> tokenizer;
  std::shared_ptr<const slice::TokenBytes> bytes;
  int64_t capacity = 0;      ///< tokens of a text, prompt included
  int64_t most_prompts = 0;  ///< of one request: more than may wait would never be taken
  int64_t created = 0;       ///< seconds since 1970
  std::shared_ptr<slice::Engine> engine;
};

/// A token as OpenAI's log-probabilities show it: its text, or `bytes:\xe2\x82` where that is no
/// whole character.
std::string token_text(const ServedModel& model, int64_t id);
/// Its bytes; those of a special token's name.
std::string token_bytes(const ServedModel& model, int64_t id);

}  // namespace serve
