#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace slice::detail {

/// `chat_template` of a tokenizer_config.json: a string, or of several named ones the one named
/// "default"; empty when there is none.
/// @param where  file, for messages. @throws FormatError  something else
std::string read_chat_template(const nlohmann::json& tokenizer_config, const std::string& where);

}  // namespace slice::detail
