// POST /v1/chat/completions: a conversation to a request, and texts to messages.

#include "libslice/text/chat.h"

#include <utility>

#include "examples/serve/call.h"

namespace serve {
namespace {

class ChatForm final : public AnswerForm {
 public:
  ChatForm(const ServedModel& model, int64_t texts, bool logprobs)
      : model_(model), texts_(texts), logprobs_(logprobs) {}

  std::string object(bool stream) const override {
    return stream ? "chat.completion.chunk" : "chat.completion";
  }
  std::string id_prefix() const override { return "chatcmpl-"; }

  Json whole(int64_t choice, size_t, const slice::TextPiece& text) override {
    return {{"index", choice},
            {"message", {{"role", "assistant"}, {"content", text.text}, {"refusal", nullptr}}},
            {"logprobs", shown(text, /*always=*/true)},
            {"finish_reason", finish_reason(text.finish)},
            {"stop_reason", stop_reason(text)}};
  }

  std::vector<Json> opening() override {
    std::vector<Json> entries;
    for (int64_t i = 0; i < texts_; ++i) {
      entries.push_back({{"index", i},
                         {"delta", {{"role", "assistant"}, {"content", ""}}},
                         {"logprobs", nullptr},
                         {"finish_reason", nullptr}});
    }
    return entries;
  }

  std::vector<Json> piece(int64_t choice, size_t, const slice::TextPiece& piece) override {
    const bool ends = piece.finish != slice::Finish::kNone;
    const Json scores = shown(piece, /*always=*/false);
    if (piece.text.empty() && scores.is_null() && !ends) return {};
    Json delta = Json::object();
    if (!piece.text.empty()) delta["content"] = piece.text;
    Json entry = {{"index", choice},
                  {"delta", std::move(delta)},
                  {"logprobs", scores},
                  {"finish_reason", finish_reason(piece.finish)}};
    if (ends) entry["stop_reason"] = stop_reason(piece);
    return {entry};
  }

 private:
  Json shown(const slice::TextPiece& piece, bool always) const {
    if (!logprobs_ || (!always && piece.logprobs.empty())) return nullptr;
    Json content = Json::array();
    for (const slice::TokenLogprobs& token : piece.logprobs) {
      Json entry = one(token.id, token.logprob);
      entry["top_logprobs"] = Json::array();
      for (const auto& [id, logprob] : token.top) entry["top_logprobs"].push_back(one(id, logprob));
      content.push_back(std::move(entry));
    }
    return {{"content", content}, {"refusal", nullptr}};
  }

  Json one(int64_t id, double logprob) const {
    Json bytes = Json::array();
    for (const char c : token_bytes(model_, id)) bytes.push_back(static_cast<uint8_t>(c));
    return {{"token", token_text(model_, id)}, {"logprob", logprob}, {"bytes", std::move(bytes)}};
  }

  const ServedModel& model_;
  int64_t texts_;
  bool logprobs_;
};

/// Nothing where the model is to choose none of them.
std::string read_tools(const Json& body) {
  const Json* tools = find(body, "tools");
  const Json* choice = find(body, "tool_choice");
  if (choice != nullptr && *choice != "auto" && *choice != "none")
    refuse("tool_choice", "want auto or none: nothing makes the model call a tool");
  if (tools == nullptr || (choice != nullptr && *choice == "none")) return "";
  if (!tools->is_array()) refuse("tools", "want an array");
  return text_of(*tools);
}

std::vector<int64_t> encode(const Json& body, const ServedModel& model) {
  if (model.tokenizer->chat_template().empty())
    throw ApiError(400, "the model has no chat template; use /v1/completions", "messages");
  const Json* messages = find(body, "messages");
  if (messages == nullptr) refuse("messages", "is missing");
  if (!messages->is_array() || messages->empty()) refuse("messages", "want a list of messages");
  slice::ChatConversation conversation = {.messages = text_of(*messages),
                                          .tools = read_tools(body)};
  if (const Json* variables = find(body, "chat_template_kwargs")) {
    if (!variables->is_object()) refuse("chat_template_kwargs", "want an object");
    conversation.variables = text_of(*variables);
  }
  conversation.add_generation_prompt = get<bool>(body, "add_generation_prompt").value_or(true);
  try {
    return slice::encode_conversation(*model.tokenizer, conversation);
  } catch (const slice::FormatError& error) {
    throw ApiError(400, error.what(), "messages");
  }
}

}  // namespace

Call read_chat(const Json& body, const ServedModel& model) {
  check_model(body, model);
  Call call;
  call.streaming = read_streaming(body);
  slice::Request request = read_generation(body, model, model.capacity);
  if (request.options.max_tokens == 0) refuse("max_tokens", "want at least 1");
  const bool logprobs = get<bool>(body, "logprobs").value_or(false);
  const int64_t top = integer_in(body, "top_logprobs", 0, slice::kMostLogprobs, 0);
  if (top > 0 && !logprobs) refuse("top_logprobs", "needs logprobs");
  if (logprobs) request.logprobs = top;
  request.prompt = encode(body, model);
  check_prompt(request.prompt, model, "messages");
  call.form = std::make_unique<ChatForm>(model, request.texts, logprobs);
  call.requests.push_back(std::move(request));
  return call;
}

}  // namespace serve
