#include "libslice/text/detail/chat_template.h"

#include "libslice/base/detail/json.h"

namespace slice::detail {

std::string read_chat_template(const nlohmann::json& tokenizer_config, const std::string& where) {
  const auto found = tokenizer_config.find("chat_template");
  if (found == tokenizer_config.end() || !found->is_array()) {
    return find_field<std::string>(tokenizer_config, "chat_template", where).value_or("");
  }
  const std::string entry_name = where + ": chat_template";
  for (const nlohmann::json& entry : *found) {
    if (field<std::string>(entry, "name", entry_name) == "default") {
      return field<std::string>(entry, "template", entry_name);
    }
  }
  return {};
}

}  // namespace slice::detail
