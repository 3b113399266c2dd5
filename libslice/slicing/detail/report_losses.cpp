// What slicing lost: by text, and of the plans that a search tried.

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/html.h"
#include "libslice/slicing/detail/report_charts.h"
#include "libslice/slicing/detail/report_sections.h"
#include "libslice/slicing/detail/report_text.h"

namespace slice::detail {

namespace {

std::string legend(const std::vector<std::pair<const char*, const char*>>& entries) {
  std::string html = "<p class=\"legend\">";
  for (const auto& [style, words] : entries)
    html += formatted(
        "<span><svg class=\"key\" viewBox=\"0 0 12 12\" aria-hidden=\"true\"><circle class=\"{}\" "
        "cx=\"6\" cy=\"6\" r=\"4.5\"/></svg>{}</span>\n",
        style, words);
  return html + "</p>\n";
}

std::string name_of(const TextReport& text, size_t i) {
  return text.name.empty() ? formatted("text {}", i + 1) : html_text(text.name);
}

bool measured(const TextReport& text) { return text.held_out_before && text.held_out_after; }

/// Two bars of a text's losses.
std::string bars_of(const TextReport& text, double most) {
  const double before = *text.held_out_before, after = *text.held_out_after;
  const auto one = [&](const char* name, double loss, const char* style) {
    return formatted(
        "<span class=\"thin\">{}</span>{}<span>{} <span class=\"thin\">(perplexity "
        "{})</span></span>\n",
        name, bar({{loss, style}}, most), decimal(loss, 3), decimal(std::exp(loss), 2));
  };
  return one("before", before, "before") + one("after", after, "after");
}

std::string candidate_row(const Candidate& c, bool chosen, double layers) {
  return row({std::to_string(c.kept) + (chosen ? " <b>chosen</b>" : ""),
              decimal(static_cast<double>(c.channels()) / layers, 1),
              compact(double(c.after.total)), c.tied ? "tied" : "own", c.stock ? "yes" : "no",
              c.loss ? decimal(*c.loss, 4) : "–"});
}

/// Of plans, the chosen one first.
std::string candidates_chart(const std::vector<Candidate>& candidates) {
  std::vector<ScatterPoint> points;
  for (size_t i = candidates.size(); i-- > 0;) {  // the chosen one on top
    const Candidate& c = candidates[i];
    if (!c.loss) continue;
    points.push_back({static_cast<double>(c.kept), *c.loss,
                      i == 0    ? "chosen"
                      : c.stock ? "stock"
                                : "free",
                      formatted("hidden size {}, {} channels, loss {:.4f}", c.kept,
                                grouped(c.channels()), *c.loss)});
  }
  return scatter(points, "hidden size", "held-out loss, nats a token");
}

}  // namespace

std::string texts_section(const SliceReport& r) {
  if (r.texts.empty()) return {};
  double most = 0;
  for (const TextReport& text : r.texts)
    most = std::max({most, text.held_out_before.value_or(0), text.held_out_after.value_or(0)});
  std::string rows;
  for (size_t i = 0; i < r.texts.size(); ++i) {
    const TextReport& text = r.texts[i];
    rows += "<h3>" + name_of(text, i) + "</h3>\n";
    if (measured(text)) rows += bars_of(text, most);
    rows += formatted("<p class=\"thin\">{} windows{}{}</p>\n", text.windows,
                      measured(text) ? formatted(", {} of them held out", text.held_out) : "",
                      text.weight > 0 ? formatted("; weight {:g}", text.weight) : std::string());
  }
  const std::string body = "<div class=\"bars\">" + rows + "</div>\n";  // one scale for all texts
  if (!std::ranges::any_of(r.texts, measured))
    return section("Calibration texts", "What the model read; no losses were measured on them.",
                   body);
  return section("Losses by text",
                 "Mean negative log-likelihood in nats a token, on windows that nothing was chosen "
                 "or fitted on.",
                 body);
}

std::string search_section(const SliceReport& r) {
  const std::string chart = candidates_chart(r.candidates);
  if (chart.empty()) return {};
  const double layers = static_cast<double>(std::max<int64_t>(r.layers, 1));
  std::string rows;
  for (size_t i = 0; i < r.candidates.size(); ++i)
    rows += candidate_row(r.candidates[i], i == 0, layers);
  return section(
      "Plans that were tried",
      "Every one meets the budget, by fewer coordinates, fewer channels or both. Stock "
      "plans load wherever the model does.",
      chart + legend({{"chosen", "chosen"}, {"stock", "stock"}, {"free", "custom code"}}) +
          "<details><summary>All of them</summary>\n" +
          table({"hidden size", "channels a layer", "parameters", "head", "stock", "loss"}, rows) +
          "</details>\n");
}

}  // namespace slice::detail
