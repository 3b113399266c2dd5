#pragma once

#include "slice_plan.h"

namespace cli {

/// What a run did, what it wrote, and how to use it: on stdout, or with --json the report.
void print_summary(const Arguments& arguments, const slice::SliceReport& report);

}  // namespace cli
