#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "examples/serve/fields.h"
#include "libslice/decode/request.h"

namespace serve {

/// How the texts of a request are shown: as completions or as chats. A text is a piece that holds
/// all of it. `choice` numbers are those of OpenAI's `index`: prompt · n + text.
class AnswerForm {
 public:
  virtual ~AnswerForm() = default;

  /// The value of `object`, and what ids begin with.
  virtual std::string object(bool stream) const = 0;
  virtual std::string id_prefix() const = 0;
  /// An entry of `choices`.
  virtual Json whole(int64_t choice, size_t prompt, const slice::TextPiece& text) = 0;
  /// Entries that a stream begins with, before anything was written; may be none.
  virtual std::vector<Json> opening() = 0;
  /// Entries for a piece of a text; none where it has nothing to show.
  virtual std::vector<Json> piece(int64_t choice, size_t prompt, const slice::TextPiece& piece) = 0;
};

/// `finish_reason`, null while the text continues.
Json finish_reason(slice::Finish finish);
/// The stop string that ended it, or null.
Json stop_reason(const slice::TextPiece& piece);

}  // namespace serve
