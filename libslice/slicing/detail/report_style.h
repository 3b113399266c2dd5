#pragma once

namespace slice::detail {

/// The style sheet of a report: light and dark, a phone and a wide window, paper.
extern const char* const kReportStyle;

}  // namespace slice::detail
