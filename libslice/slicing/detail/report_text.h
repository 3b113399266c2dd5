#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace slice::detail {

/// Numbers as the page of a report shows them. What is not finite is "–".

std::string grouped(int64_t number);              ///< 134515008 → "134,515,008"
std::string compact(double number);               ///< 134515008 → "134.5 M"
std::string decimal(double number, int digits);   ///< 16.5766, 2 → "16.58"
std::string bytes_text(int64_t bytes);            ///< 223410816 → "213 MiB"
std::string seconds_text(double seconds);         ///< 4983 → "1 h 23 min"
std::string share_text(double share);             ///< 0.1234 → "12.3 %"
std::string change(double before, double after);  ///< 134.5, 111.7 → "−17.0 %"

/// Pieces of HTML, of pieces that are HTML already: what came from outside went through html_text().

/// A row of a table: the first cell is its heading.
std::string row(const std::vector<std::string>& cells);
/// @param headings  of the columns; empty: none     @param rows  of row()
std::string table(const std::vector<std::string>& headings, const std::string& rows);
/// @param lead  a sentence that says how to read it; may be empty
std::string section(std::string_view title, std::string_view lead, const std::string& body);

}  // namespace slice::detail
