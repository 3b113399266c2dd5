#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libslice/text/tokenizer.h"

namespace slice {

struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant"; others if the template takes them
  std::string content;
};

/// A conversation as the one text that the model was trained to continue: the output of its chat
/// template, given messages, add_generation_prompt, the special tokens by their names in the
/// tokenizer's configuration (bos_token, pad_token, …), and no documents. The same as
/// Transformers' apply_chat_template.
///   (Jinja 3.1; what is not supported of it is in jinja/jinja.h)
///
/// @param messages               UTF-8, in order
/// @param add_generation_prompt  end with the beginning of an answer
/// @throws FormatError  no template; a template that is malformed, uses an unsupported feature or
///                      does not end (names the line); one that refuses these messages; a message
///                      not UTF-8
std::string render_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                        bool add_generation_prompt = true);

/// A conversation in the form of OpenAI's requests, as JSON.
struct ChatConversation {
  /// An array of objects. A message's members all reach the template (tool_calls, tool_call_id, …).
  /// Its content is a string, null, or a list of text parts, which the template is given as their
  /// texts, a line each; arguments of tool calls may be JSON in a string.
  std::string messages;
  std::string tools = {};      ///< an array of functions that the model may call; empty: none
  std::string variables = {};  ///< an object of further variables (enable_thinking, …), or empty
  bool add_generation_prompt = true;
};

/// @throws FormatError  as above; JSON that is malformed, of the wrong kind or nested more than 64
///                      deep; a part that is no text
std::string render_conversation(const Tokenizer& tokenizer, const ChatConversation& conversation);

/// The same as ids: special tokens are recognised, also those written out in a message, and with a
/// tokenizer that adds_bos() the ids begin with one bos_token(), whether the template writes it or
/// not. @throws FormatError  as render_chat
std::vector<int64_t> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt = true);
std::vector<int64_t> encode_conversation(const Tokenizer& tokenizer,
                                         const ChatConversation& conversation);

}  // namespace slice
