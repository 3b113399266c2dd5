#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "libslice/model/families/family.h"

namespace slice::models {

/// The family of a config.json's model_type.
/// @throws FormatError  none; says what this library would need for a network that it knows of
const Family& family_of_type(const std::string& model_type, const std::string& origin);

/// What a network of this model_type has that the decoder does not run; empty where it is unknown.
std::string what_it_would_need(const std::string& model_type);

/// The configuration of the text in that of a model that sees images too, whose vision is not read;
/// any other one as it is.
/// @throws FormatError  it has no text_config
nlohmann::json text_config(const nlohmann::json& object, const std::string& origin);

}  // namespace slice::models
