#pragma once

#include <filesystem>
#include <string>

#include "libslice/slicing/report.h"

namespace slice {

/// A report as one page of HTML that needs nothing else: no script, no font, no picture from
/// elsewhere.
/// It has a light and a dark appearance and is laid out for a phone as for a wide window; the
/// pictures are inline SVG. What came from outside (names, prompts, texts) is escaped. About 2 kB a
/// layer at most, beside the samples.                      (docs/architecture.md, "The report")
std::string report_html(const SliceReport& report);

/// Writes it to a file, as write_output() does. @throws Error  check_output()'s; cannot write
void save_report_html(const SliceReport& report, const std::filesystem::path& path);

}  // namespace slice
