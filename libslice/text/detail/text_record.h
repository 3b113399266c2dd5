#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libslice/text/chat.h"

namespace slice::detail {

/// A piece of calibration text: plain, or a conversation.
struct TextRecord {
  std::string text;                   ///< of a conversation: its messages, one a line
  std::vector<ChatMessage> messages;  ///< empty for plain text
};

/// Reads one JSON value of a data set; calibration.h lists the forms. An object that is none of
/// them but holds one array of objects (`{"data": […]}`) stands for those.
/// @param where  file and place, for messages
/// @throws FormatError  none of the forms (names the keys there are and those wanted), or a member
///                      of the wrong type
void read_records(const nlohmann::json& value, const std::string& where,
                  const std::function<void(TextRecord)>& on_record);

}  // namespace slice::detail
