#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libslice/text/tokenizer.h"

namespace slice {

struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant"; what else, the template decides
  std::string content;
};

/// A conversation as the one text that the model was trained to continue: its chat template, given
/// messages, add_generation_prompt, bos_token and eos_token, and no tools or documents. Writes what
/// Transformers' apply_chat_template does.   (Jinja 3.1; the part of it in detail/jinja/jinja.h)
///
/// @param messages               UTF-8, in order.
/// @param add_generation_prompt  ends with what begins an answer.
/// @throws FormatError  no template, one that is malformed, uses what is not supported or comes to
/// no end (names the line), one that refuses these messages, or a message not UTF-8.
std::string render_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                        bool add_generation_prompt = true);

/// The same as ids: special tokens are recognised, and a tokenizer that adds_bos() begins with
/// bos_token() once, whether the template writes it or not. Special tokens written out in a message
/// are recognised too. @throws FormatError  see render_chat.
std::vector<int64_t> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt = true);

}  // namespace slice
