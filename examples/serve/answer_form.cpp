#include "examples/serve/answer_form.h"

namespace serve {

Json finish_reason(slice::Finish finish) {
  switch (finish) {
    case slice::Finish::kNone:
      return nullptr;
    case slice::Finish::kStop:
      return "stop";
    case slice::Finish::kLength:
      return "length";
    case slice::Finish::kCancelled:
      return "cancelled";
    case slice::Finish::kDeadline:
      return "deadline";
    case slice::Finish::kError:
      return "error";
  }
  return nullptr;
}

Json stop_reason(const slice::TextPiece& piece) {
  return piece.stop_string.empty() ? Json() : Json(piece.stop_string);
}

}  // namespace serve
