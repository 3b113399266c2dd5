#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libslice/slicing/report.h"

namespace slice::detail {

/// Pictures of a report as inline SVG. Names of classes are those of the style sheet
/// (report_style.h). Labels are HTML already.

/// A part of a bar.
struct BarPart {
  double value = 0;
  std::string style;  ///< class
};

/// A horizontal bar without text, as wide as its place.
/// @param full  what the whole width stands for
std::string bar(const std::vector<BarPart>& parts, double full);

/// Upright bars, one a layer, before a pale one of what there was.
/// @param before, after  as many     @param what  they count, for the labels
std::string columns(const std::vector<int64_t>& before, const std::vector<int64_t>& after,
                    const std::string& what);

struct ScatterPoint {
  double x = 0, y = 0;
  std::string style, label;
};

/// Points on two axes. Points that are not finite are left out.
std::string scatter(const std::vector<ScatterPoint>& points, const std::string& x_name,
                    const std::string& y_name);

/// The spectrum of a site on a logarithmic scale, without text: what is kept in colour.
/// @param floor  the share at the lower edge; 1 is the upper one
std::string spectrum(const SiteReport& site, double floor);

}  // namespace slice::detail
