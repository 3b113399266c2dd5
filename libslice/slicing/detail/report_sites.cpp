// Layer by layer: channels, and the spectrum of every site.

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/html.h"
#include "libslice/slicing/detail/report_charts.h"
#include "libslice/slicing/detail/report_sections.h"
#include "libslice/slicing/detail/report_text.h"

namespace slice::detail {

namespace {

/// The power of ten, −9 to −2, below all shares of the spectra: the lower edge of their scale.
int lowest_power(const std::vector<SiteReport>& sites) {
  double least = 1e-2;
  for (const SiteReport& site : sites)
    for (const double share : site.spectrum)
      if (share > 0) least = std::min(least, share);
  return std::max(-9, static_cast<int>(std::floor(std::log10(least))));
}

/// "model.layers.3.self_attn" → "3.self_attn": what tells sites apart.
std::string short_name(const std::string& name) {
  const size_t digit = name.find_first_of("0123456789");
  return html_text(digit == name.npos ? name : name.substr(digit));
}

std::string panel(const SiteReport& site, double floor) {
  const std::string picture =
      site.spectrum.empty() ? bar({{site.kept_variance, "after"}}, 1)  // an earlier run found it
                            : spectrum(site, floor);
  return "<figure>" + picture + "<figcaption>" + short_name(site.name) +
         formatted("<br><b>{} %</b>", decimal(100 * site.kept_variance, 2)) +
         "</figcaption></figure>\n";
}

}  // namespace

std::string channels_section(const SliceReport& r) {
  const bool comparable = !r.ffn_sizes.empty() && r.ffn_sizes.size() == r.dense_ffn_sizes.size();
  if (!comparable) return {};
  return section("Channels kept in every layer",
                 "Inner width of the feed-forward networks; grey: what was removed.",
                 columns(r.dense_ffn_sizes, r.ffn_sizes, "channels"));
}

std::string sites_section(const SliceReport& r) {
  const bool rotated = std::ranges::any_of(r.sites, [&](const SiteReport& site) {
    return site.hidden_size < r.hidden_size || !site.spectrum.empty();
  });
  if (!rotated)
    return section("Spectrum of every site",
                   formatted("The hidden size stays {}: no site was rotated.", r.hidden_size), "");
  const int power = lowest_power(r.sites);
  const double floor = std::pow(10, power);
  std::string panels;
  for (const SiteReport& site : r.sites)
    if (!site.spectrum.empty() || site.hidden_size < r.hidden_size) panels += panel(site, floor);
  const char* which =
      r.method == "refit"
          ? "The kept directions, by their share of the variance"
          : "All directions, by their share of the variance, the kept ones in colour";
  return section(
      "Spectrum of every site",
      formatted("{}, on one logarithmic scale from 1 down to 10<sup>−{}</sup>. Below: the "
                "site and the variance it keeps.",
                which, -power),
      "<div class=\"sites\">\n" + panels + "</div>\n");
}

}  // namespace slice::detail
