#pragma once

#include <string>

#include "libslice/slicing/report.h"

namespace slice::detail {

/// The sections of a report's page, as HTML; empty where the report has nothing to say there.

std::string headline(const SliceReport& report);         ///< name, method, the four numbers
std::string outcome_section(const SliceReport& report);  ///< sizes before and after
std::string samples_section(const SliceReport& report);  ///< what it writes
std::string texts_section(const SliceReport& report);    ///< losses by text
std::string search_section(const SliceReport& report);   ///< candidates
std::string parameters_section(const SliceReport& report);
std::string channels_section(const SliceReport& report);
std::string sites_section(const SliceReport& report);  ///< spectra and kept variance
std::string time_section(const SliceReport& report);
std::string memory_section(const SliceReport& report);
std::string asked_section(const SliceReport& report);
std::string versions_section(const SliceReport& report);

}  // namespace slice::detail
