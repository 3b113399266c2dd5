#include "libslice/slicing/detail/report_text.h"

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/formatted.h"

namespace slice::detail {

namespace {

constexpr char kNone[] = "–";

/// With three digits or so: 1.23, 12.3, 123.
std::string three_digits(double number) {
  const int digits = number < 10 ? 2 : number < 100 ? 1 : 0;
  return formatted("{:.{}f}", number, digits);
}

}  // namespace

std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  const size_t first = text[0] == '-' ? 1 : 0;
  for (size_t i = text.size(); i > first + 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

std::string compact(double number) {
  if (!std::isfinite(number)) return kNone;
  constexpr const char* kNames[] = {"", " k", " M", " G", " T", " P"};
  size_t name = 0;
  while (number >= 999.95 && name + 1 < std::size(kNames)) {
    number /= 1000;
    ++name;
  }
  return name == 0 ? formatted("{:.0f}", number) : formatted("{:.1f}{}", number, kNames[name]);
}

std::string decimal(double number, int digits) {
  return std::isfinite(number) ? formatted("{:.{}f}", number, digits) : kNone;
}

std::string bytes_text(int64_t bytes) {
  constexpr const char* kNames[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto number = static_cast<double>(bytes);
  size_t name = 0;
  while (number >= 1000 && name + 1 < std::size(kNames)) {
    number /= 1024;
    ++name;
  }
  return name == 0 ? formatted("{} B", bytes) : three_digits(number) + " " + kNames[name];
}

std::string seconds_text(double seconds) {
  if (!std::isfinite(seconds)) return kNone;
  if (seconds < 60) return three_digits(seconds) + " s";
  const auto whole = static_cast<int64_t>(std::min(seconds, 1e12) + 0.5);
  if (whole < 3600) return formatted("{} min {} s", whole / 60, whole % 60);
  return formatted("{} h {} min", whole / 3600, whole % 3600 / 60);
}

std::string share_text(double share) {
  return std::isfinite(share) ? formatted("{:.1f} %", 100 * share) : kNone;
}

std::string change(double before, double after) {
  const double change = 100 * (after / before - 1);
  if (!std::isfinite(change)) return kNone;
  if (std::abs(change) < 0.05) return "0 %";
  return formatted("{}{:.1f} %", change < 0 ? "−" : "+", std::abs(change));
}

std::string row(const std::vector<std::string>& cells) {
  std::string html = "<tr>";
  for (size_t i = 0; i < cells.size(); ++i)
    html += i == 0 ? "<th scope=\"row\">" + cells[i] + "</th>" : "<td>" + cells[i] + "</td>";
  return html + "</tr>\n";
}

std::string table(const std::vector<std::string>& headings, const std::string& rows) {
  std::string html = "<div class=\"wide\"><table>\n";
  if (!headings.empty()) {
    html += "<thead><tr>";
    for (const std::string& heading : headings)
      html += heading.empty() ? "<td></td>" : "<th scope=\"col\">" + heading + "</th>";
    html += "</tr></thead>\n";
  }
  return html + "<tbody>\n" + rows + "</tbody>\n</table></div>\n";
}

std::string section(std::string_view title, std::string_view lead, const std::string& body) {
  std::string html = formatted("<section>\n<h2>{}</h2>\n", title);
  if (!lead.empty()) html += formatted("<p class=\"lead\">{}</p>\n", lead);
  return html + body + "</section>\n";
}

}  // namespace slice::detail
