#include "libslice/slicing/report_html.h"

#include "libslice/base/detail/html.h"
#include "libslice/base/output_file.h"
#include "libslice/slicing/detail/report_sections.h"
#include "libslice/slicing/detail/report_style.h"

namespace slice {

namespace {

/// Whatever slips through, a browser fetches and runs nothing.
constexpr char kPolicy[] =
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'\">\n";

/// Sections beside each other where the window is wide enough.
std::string pair(const std::string& left, const std::string& right) {
  return left.empty() || right.empty() ? left + right
                                       : "<div class=\"pair\">\n" + left + right + "</div>\n";
}

}  // namespace

std::string report_html(const SliceReport& r) {
  const std::string name = detail::html_text(r.model.empty() ? r.family : r.model);
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
      std::string(kPolicy) +
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" + name +
      ": slicing report</title>\n<style>" + detail::kReportStyle + "</style>\n</head>\n<body>\n";
  html += detail::headline(r);
  html += detail::outcome_section(r) + detail::samples_section(r);
  html += pair(detail::texts_section(r), detail::search_section(r));
  html += pair(detail::parameters_section(r), detail::channels_section(r));
  html += detail::sites_section(r);
  html += pair(detail::time_section(r), detail::memory_section(r));
  html += detail::asked_section(r) + detail::versions_section(r);
  return html + "</body>\n</html>\n";
}

void save_report_html(const SliceReport& report, const std::filesystem::path& path) {
  write_output(path, report_html(report));
}

}  // namespace slice
