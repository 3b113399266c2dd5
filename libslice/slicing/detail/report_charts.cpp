#include "libslice/slicing/detail/report_charts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "libslice/base/detail/formatted.h"
#include "libslice/slicing/detail/report_text.h"

namespace slice::detail {

namespace {

std::string rectangle(double x, double y, double width, double height, const std::string& style,
                      const std::string& title = {}) {
  const std::string tag =
      formatted("<rect class=\"{}\" x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\"",
                style, x, y, width, height);
  return title.empty() ? tag + "/>" : tag + "><title>" + title + "</title></rect>";
}

std::string line(double x1, double y1, double x2, double y2, const char* style) {
  return formatted("<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>",
                   style, x1, y1, x2, y2);
}

std::string words(double x, double y, const char* anchor, const std::string& text) {
  return formatted("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                   text);
}

std::string picture(int width, int height, const std::string& name, const std::string& body) {
  return formatted("<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
                   width, height, name) +
         body + "</svg>\n";
}

/// Two to six round numbers within a range.
std::vector<double> ticks(double low, double high) {
  const double rough = (high - low) / 4, unit = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * unit;
  for (const double multiple : {5.0, 2.0, 1.0})
    if (multiple * unit >= rough) step = multiple * unit;
  std::vector<double> marks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i)
    marks.push_back(i * step + 0.0);  // no −0
  return marks;
}

/// A range of numbers on one axis of a picture.
struct Axis {
  double low = 0, high = 1, begin = 0, end = 0;

  double at(double value) const { return begin + (value - low) / (high - low) * (end - begin); }
  static Axis around(double low, double high, double begin, double end) {
    const double margin = high > low ? 0.08 * (high - low) : std::max(std::abs(high), 1.0) * 0.02;
    return {low - margin, high + margin, begin, end};
  }
};

std::string axes(const Axis& x, const Axis& y) {
  std::string svg;
  for (const double tick : ticks(y.low, y.high)) {
    svg += line(x.begin, y.at(tick), x.end, y.at(tick), "grid");
    svg += words(x.begin - 5, y.at(tick) + 3.5, "end", formatted("{:.4g}", tick));
  }
  for (const double tick : ticks(x.low, x.high))
    svg += words(x.at(tick), y.begin + 14, "middle", formatted("{:.6g}", tick));
  return svg + line(x.begin, y.begin, x.end, y.begin, "axis") + "\n";
}

}  // namespace

std::string bar(const std::vector<BarPart>& parts, double full) {
  std::string svg =
      "<svg class=\"bar\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" "
      "aria-hidden=\"true\">";
  double begin = 0;
  for (const BarPart& part : parts) {
    const double width = full > 0 ? 100 * part.value / full : 0;
    if (!std::isfinite(width) || width <= 0) continue;
    svg += rectangle(begin, 0, std::min(width, 100 - begin), 10, part.style);
    begin = std::min(begin + width, 100.0);
  }
  return svg + "</svg>";
}

std::string columns(const std::vector<int64_t>& before, const std::vector<int64_t>& after,
                    const std::string& what) {
  constexpr double kLeft = 40, kRight = 356, kTop = 22, kBottom = 136;
  const auto most = static_cast<double>(*std::max_element(before.begin(), before.end()));
  const auto count = static_cast<double>(before.size());
  const double pitch = (kRight - kLeft) / count, width = std::max(pitch * 0.76, 0.8);
  const Axis y{0, most, kBottom, kTop};
  std::string svg;
  for (const double tick : ticks(0, most)) {
    svg += line(kLeft, y.at(tick), kRight, y.at(tick), "grid");
    svg += words(kLeft - 5, y.at(tick) + 3.5, "end", formatted("{:.6g}", tick));
  }
  for (size_t i = 0; i < before.size(); ++i) {
    const auto all = static_cast<double>(before[i]), kept = static_cast<double>(after[i]);
    const double x = kLeft + (static_cast<double>(i) + 0.5) * pitch - width / 2;
    svg += rectangle(x, y.at(all), width, kBottom - y.at(all), "gone");
    svg += rectangle(x, y.at(kept), width, kBottom - y.at(kept), "after",
                     formatted("layer {}: {} of {} {}", i, after[i], before[i], what));
    svg += "\n";
  }
  svg += words(kLeft + pitch / 2, kBottom + 14, "middle", "0");
  if (count > 1)
    svg += words(kRight - pitch / 2, kBottom + 14, "middle", std::to_string(before.size() - 1));
  svg += words((kLeft + kRight) / 2, kBottom + 14, "middle", "layer");
  svg += words(6, 12, "start", what + " a layer");
  return picture(360, 156, what + " a layer", svg);
}

std::string scatter(const std::vector<ScatterPoint>& points, const std::string& x_name,
                    const std::string& y_name) {
  std::vector<ScatterPoint> shown;
  for (const ScatterPoint& point : points)
    if (std::isfinite(point.x) && std::isfinite(point.y)) shown.push_back(point);
  if (shown.empty()) return {};
  const auto [left, right] = std::ranges::minmax(shown, {}, &ScatterPoint::x);
  const auto [least, most] = std::ranges::minmax(shown, {}, &ScatterPoint::y);
  const Axis x = Axis::around(left.x, right.x, 46, 352), y = Axis::around(least.y, most.y, 176, 22);
  std::string svg = axes(x, y);
  for (const ScatterPoint& point : shown)
    svg += formatted(
        "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\"><title>{}</title></circle>\n",
        point.style, x.at(point.x), y.at(point.y), point.label);
  svg += words(6, 12, "start", y_name) + words(352, 206, "end", x_name);
  return picture(360, 212, y_name + " by " + x_name, svg);
}

std::string spectrum(const SiteReport& site, double floor) {
  constexpr double kWidth = 100, kHeight = 44;
  const double lowest = std::log10(floor), last = static_cast<double>(site.directions) - 1;
  const double kept =
      last > 0 ? std::min(1.0, static_cast<double>(site.hidden_size - 1) / last) : 1;
  const double steps = std::max<double>(static_cast<double>(site.spectrum.size()) - 1, 1);
  std::vector<std::pair<double, double>> curve;  // x in [0, 1], y of the picture
  for (size_t i = 0; i < site.spectrum.size(); ++i) {
    const double share = std::log10(std::clamp(site.spectrum[i], floor, 1.0));
    curve.emplace_back(static_cast<double>(i) / steps, kHeight * share / lowest);
  }
  if (curve.size() == 1) curve.emplace_back(1, curve[0].second);
  /// Below the curve, from one place to another.
  const auto area = [&](double from, double to, const char* style) {
    const auto height = [&](double x) {
      const auto place = std::min(static_cast<size_t>(x * steps), curve.size() - 2);
      const auto& [x0, y0] = curve[place];
      const auto& [x1, y1] = curve[place + 1];
      return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
    };
    std::string path = formatted("M{:.1f} {:.0f}L{:.1f} {:.1f}", from * kWidth, kHeight,
                                 from * kWidth, height(from));
    for (const auto& [x, y] : curve)
      if (x > from && x < to) path += formatted(" {:.1f} {:.1f}", x * kWidth, y);
    path +=
        formatted(" {:.1f} {:.1f} {:.1f} {:.0f}z", to * kWidth, height(to), to * kWidth, kHeight);
    return formatted("<path class=\"{}\" d=\"{}\"/>", style, path);
  };
  std::string svg = "<svg class=\"spark\" viewBox=\"0 0 100 44\" aria-hidden=\"true\">";
  if (kept > 0) svg += area(0, kept, "after");
  if (kept < 1) svg += area(kept, 1, "gone");
  return svg + "</svg>";
}

}  // namespace slice::detail
