// A byte that names a path of the server, and the body that a client sends there. Whatever it is
// refused for is the client's fault; what is understood can be answered with JSON.

#include <ATen/Functions.h>

#include <algorithm>
#include <cstdlib>

#include "examples/serve/call.h"
#include "examples/serve/tokenizer_paths.h"
#include "tests/fuzz/byte_tokenizer.h"
#include "tests/fuzz/input.h"

namespace {

using serve::Json;

const serve::ServedModel& served_model() {
  static const serve::ServedModel model = [] {
    serve::ServedModel made;
    made.name = "m";
    made.tokenizer = std::make_shared<const slice::fuzz::ByteTokenizer>(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ tools }}");
    made.bytes = std::make_shared<const slice::TokenBytes>(*made.tokenizer);
    made.capacity = 4096;
    made.most_prompts = 16;
    return made;
  }();
  return model;
}

slice::TextPiece piece_of(const slice::Request& request) {
  slice::TextPiece piece;
  piece.text = "\xe2\x82";  // within a character
  piece.ids = {0xe2, 0x82};
  piece.finish = slice::Finish::kStop;
  const slice::TokenLogprobs scores = {.id = 0xe2, .logprob = -1, .top = {{'a', -0.5}}};
  if (request.logprobs) piece.logprobs = {scores, scores};
  if (request.prompt_logprobs) piece.prompt_logprobs.assign(request.prompt.size() - 1, scores);
  return piece;
}

/// Up to some tokens that the request's constraint takes.
void write(const slice::Request& request) {
  std::vector<int64_t> written;
  for (int i = 0; i < 16; ++i) {
    at::Tensor logits = at::zeros({served_model().tokenizer->vocabulary_size()});  // (V)
    request.constraint(0, written, logits);
    const int64_t id = logits.argmax().item<int64_t>();
    if (id == slice::fuzz::ByteTokenizer::kEnd) return;
    written.push_back(id);
  }
}

void use(serve::Call call) {
  if (call.requests.empty()) std::abort();
  for (size_t i = 0; i < std::min<size_t>(call.requests.size(), 2); ++i) {
    const slice::Request& request = call.requests[i];
    if (request.prompt.empty() || std::cmp_greater_equal(request.prompt.size(), 4096)) std::abort();
    const auto choice = static_cast<int64_t>(i) * request.texts;
    if (call.streaming.stream) {
      for (const Json& entry : call.form->opening()) serve::text_of(entry);
      for (const Json& entry : call.form->piece(choice, i, piece_of(request)))
        serve::text_of(entry);
    } else {
      serve::text_of(call.form->whole(choice, i, piece_of(request)));
    }
    if (i == 0 && request.constraint) write(request);
  }
}

void respond(uint8_t path, std::string_view body) {
  const Json object = serve::parse_body(body);
  switch (path % 4) {
    case 0:
      return use(serve::read_completion(object, served_model()));
    case 1:
      return use(serve::read_chat(object, served_model()));
    case 2:
      serve::text_of(serve::tokenize(object, served_model()));
      return;
    default:
      serve::text_of(serve::detokenize(object, served_model()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    respond(data[0], slice::fuzz::as_text(data + 1, size - 1));
  } catch (const std::exception& error) {
    if (serve::to_api_error(error).status() >= 500) throw;
  }
  return 0;
}
