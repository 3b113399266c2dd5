#pragma once

#include <string>

namespace cli {

/// slice_model --check DIR [MODEL]: says on stdout whether the files are those that were written,
/// and, where a model is given, whether they were made of it.
/// @throws slice::Error  they are not
void check_model(const std::string& directory, const std::string& model, bool json);

}  // namespace cli
