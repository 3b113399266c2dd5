#pragma once

// inspect --compare: two models beside each other.

#include <string>

namespace cli {

/// A table on stdout, or one JSON object: sizes, parameters, bytes and FLOP of a token, and losses
/// where a report tells them.
/// @param first, second  models, of which headers are read, or slice_report.json files, which stand
///                       for the model that was sliced
/// @throws slice::FormatError  neither (names the file)
void compare(const std::string& first, const std::string& second, bool json);

}  // namespace cli
