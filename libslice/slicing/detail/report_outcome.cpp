// What came, what was asked for, and with what: the tables of a report.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/html.h"
#include "libslice/slicing/detail/report_sections.h"
#include "libslice/slicing/detail/report_text.h"

namespace slice::detail {

namespace {

std::string tile(const std::string& name, const std::string& number, const std::string& before,
                 const std::string& changed, bool worse) {
  return formatted(
      "<div class=\"tile\"><p>{}</p><p class=\"big\">{}</p><p>from {} <b{}>{}</b></p></div>\n",
      name, number, before, worse ? " class=\"worse\"" : "", changed);
}

/// A number of the model before and after that is better when it is smaller.
std::string smaller(const std::string& name, double before, double after,
                    const std::string& before_text, const std::string& after_text) {
  return tile(name, after_text, before_text, change(before, after), after > before);
}

std::string compact_tile(const std::string& name, int64_t before, int64_t after) {
  const auto from = static_cast<double>(before), to = static_cast<double>(after);
  return smaller(name, from, to, compact(from), compact(to));
}

std::string bytes_tile(const std::string& name, int64_t before, int64_t after) {
  return smaller(name, static_cast<double>(before), static_cast<double>(after), bytes_text(before),
                 bytes_text(after));
}

std::string compared(const std::string& name, double before, double after,
                     const std::string& before_text, const std::string& after_text) {
  return row({name, before_text, after_text, change(before, after)});
}

std::string counted(const std::string& name, int64_t before, int64_t after) {
  return compared(name, static_cast<double>(before), static_cast<double>(after), grouped(before),
                  grouped(after));
}

std::string sized(const std::string& name, int64_t before, int64_t after) {
  return compared(name, static_cast<double>(before), static_cast<double>(after), bytes_text(before),
                  bytes_text(after));
}

std::string measured(const std::string& name, double before, double after, int digits) {
  return compared(name, before, after, decimal(before, digits), decimal(after, digits));
}

double mean(const std::vector<int64_t>& widths) {
  return std::accumulate(widths.begin(), widths.end(), 0.0) / static_cast<double>(widths.size());
}

std::string flop_text(int64_t multiplied) { return compact(2 * static_cast<double>(multiplied)); }

/// The hidden size that the blocks have; of a model without sites D.
int64_t kept(const SliceReport& r) {
  return r.stream_sizes.empty() ? r.hidden_size : r.stream_sizes.front();
}

std::string head_size(const SliceReport& r) {
  const int64_t size = r.stream_sizes.empty() ? r.hidden_size : r.stream_sizes.back();
  return formatted("{} of {} coordinates", size, r.hidden_size);
}

/// Of all held-out windows together, where they were measured: dense and sliced.
std::optional<std::pair<double, double>> held_out_perplexity(const SliceReport& r) {
  double before = 0, after = 0, windows = 0;
  for (const TextReport& text : r.texts) {
    if (!text.held_out_before || !text.held_out_after) continue;
    const auto weight = static_cast<double>(text.held_out);
    before += weight * *text.held_out_before;
    after += weight * *text.held_out_after;
    windows += weight;
  }
  if (windows == 0) return std::nullopt;
  return std::pair(std::exp(before / windows), std::exp(after / windows));
}

std::string facts(const std::string& rows) {
  return "<table class=\"facts\">\n<tbody>\n" + rows + "</tbody>\n</table>\n";
}

/// Where the calibration signal was, in words.
std::string signal_text(const SliceReport& r) {
  if (r.signal == "disk") return "a file";
  if (r.signal == "device" && r.device == "cpu") return "memory";
  return html_text(r.signal) + " memory";
}

/// How much was to go, in words.
std::string target(const SliceOptions& o) {
  if (o.remove) return share_text(*o.remove) + " of all parameters as stored";
  if (o.remove_blocks) return share_text(*o.remove_blocks) + " of the weights of the blocks";
  if (o.fit_bytes)
    return formatted("to fit into {} with {} sequences of {} tokens", bytes_text(*o.fit_bytes),
                     o.fit_batch, grouped(o.fit_context));
  std::string text = o.kept > 0    ? formatted("a hidden size of {}", o.kept)
                     : o.slice > 0 ? share_text(o.slice) + " of the hidden size"
                                   : std::string("the hidden size kept");
  if (!o.ffn_sizes.empty())
    text += formatted(", {} FFN channels a layer", decimal(mean(o.ffn_sizes), 0));
  return text;
}

/// A text whose longer runs of line breaks are counted: some models write nothing else.
std::string sample_text(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const size_t breaks = std::min(text.find_first_not_of('\n'), text.size());
    shown += breaks > 2 ? formatted("\n[{} line breaks]\n", breaks) : std::string(breaks, '\n');
    text.remove_prefix(breaks);
    const size_t line = std::min(text.find('\n'), text.size());
    shown += html_text(text.substr(0, line));
    text.remove_prefix(line);
  }
  return shown;
}

}  // namespace

std::string headline(const SliceReport& r) {
  std::string html = "<header>\n<h1>" + html_text(r.model.empty() ? "Slicing report" : r.model) +
                     "</h1>\n<p class=\"lead\">";
  if (!r.family.empty()) html += html_text(r.family) + formatted(", {} layers, ", r.layers);
  html +=
      formatted("hidden size {}. Sliced by {} in <span class=\"whole\">{}</span>.</p>\n</header>\n",
                r.hidden_size, html_text(r.method), seconds_text(r.total_seconds));
  html += "<div class=\"tiles\">\n";
  if (r.before.total > 0) html += compact_tile("parameters", r.before.total, r.after.total);
  if (r.weight_bytes > 0) {
    html +=
        bytes_tile("bytes stored", r.before.total * r.weight_bytes, r.after.total * r.weight_bytes);
    html += bytes_tile("bytes read for a token", r.before.read * r.weight_bytes,
                       r.after.read * r.weight_bytes);
  }
  if (r.before.multiplied > 0)
    html += compact_tile("FLOP for a token", 2 * r.before.multiplied, 2 * r.after.multiplied);
  if (const auto held_out = held_out_perplexity(r); held_out && !r.perplexity_before)
    html += smaller("held-out perplexity", held_out->first, held_out->second,
                    decimal(held_out->first, 2), decimal(held_out->second, 2));
  if (r.perplexity_before && r.perplexity_after)
    html += smaller("perplexity", *r.perplexity_before, *r.perplexity_after,
                    decimal(*r.perplexity_before, 2), decimal(*r.perplexity_after, 2));
  return html + "</div>\n";
}

std::string outcome_section(const SliceReport& r) {
  std::string rows = counted("hidden size of the blocks", r.hidden_size, kept(r));
  if (!r.dense_ffn_sizes.empty() && !r.ffn_sizes.empty())
    rows += measured("FFN channels a layer, mean", mean(r.dense_ffn_sizes), mean(r.ffn_sizes), 1);
  if (r.before.total > 0) {
    rows += counted("parameters as stored", r.before.total, r.after.total);
    rows += counted("of these in the blocks", r.before.blocks, r.after.blocks);
  }
  if (r.weight_bytes > 0) {
    rows += sized("bytes stored", r.before.total * r.weight_bytes, r.after.total * r.weight_bytes);
    rows += sized("bytes read for a token", r.before.read * r.weight_bytes,
                  r.after.read * r.weight_bytes);
  }
  if (r.before.multiplied > 0)
    rows += compared("FLOP for a token", static_cast<double>(r.before.multiplied),
                     static_cast<double>(r.after.multiplied), flop_text(r.before.multiplied),
                     flop_text(r.after.multiplied));
  if (r.perplexity_before && r.perplexity_after)
    rows += measured("perplexity", *r.perplexity_before, *r.perplexity_after, 3);
  if (r.speed_before && r.speed_after) {
    rows += measured("prompt, tokens/s", r.speed_before->prefill, r.speed_after->prefill, 1);
    rows += measured("generation, tokens/s", r.speed_before->decode, r.speed_after->decode, 1);
  }
  std::string body = table({"", "before", "after", "change"}, rows);
  if (!r.form.model_type.empty())
    body += "<p class=\"thin\">Runs in " + html_text(describe(r.form)) + ".</p>\n";
  return section("What came",
                 "Bytes and FLOP of decoding one token of one text, attention to the "
                 "tokens before it aside.",
                 body);
}

std::string samples_section(const SliceReport& r) {
  std::string body;
  for (const SampleReport& sample : r.samples) {
    const std::string prompt = "<i>" + sample_text(sample.prompt) + "</i>";
    body += "<div class=\"pair\">\n";
    for (const auto& [name, text] : {std::pair("Before", &sample.before), {"After", &sample.after}})
      body += formatted("<div><h3>{}</h3><div class=\"text\">{}{}</div></div>\n", name, prompt,
                        sample_text(*text));
    body += "</div>\n";
  }
  if (body.empty()) return {};
  return section("What it writes", "The likeliest next token, again and again; the prompt is grey.",
                 body);
}

std::string asked_section(const SliceReport& r) {
  const SliceOptions& o = r.asked;
  std::string rows = row({"to remove", target(o)});
  rows += row({"method", html_text(r.method)});
  if (o.budgeted())
    rows += row({"layout", o.layout == Layout::kFree ? "free: the best of all plans"
                                                     : "stock: plans that load as the model does"});
  rows += row({"shortcuts", html_text(r.shortcut)});
  rows += row({"head", r.tied ? "tied to the embedding" : "its own, reads " + head_size(r)});
  if (r.recover_epochs > 0)
    rows += row({"training", formatted("{} epochs a sublayer at most", r.recover_epochs)});
  if (r.method == "refit") rows += row({"seed", std::to_string(r.seed)});
  rows += row(
      {"calibration", formatted("{} tokens: {} windows of {}", grouped(r.calibration_tokens),
                                grouped(r.calibration_sequences), grouped(r.calibration_context))});
  rows += row({"computed in", formatted("{}{} on {}, signal in {}", html_text(r.dtype),
                                        r.tf32 ? " (products in TF32)" : "", html_text(r.device),
                                        signal_text(r))});
  return section("What was asked for", "", facts(rows));
}

std::string versions_section(const SliceReport& r) {
  const Versions used = versions();
  std::string rows = row({"libslice", html_text(used.libslice)});
  rows += row({"LibTorch", html_text(used.libtorch)});
  if (!used.cuda.empty()) rows += row({"CUDA", html_text(used.cuda)});
  const auto hash = [&](const std::string& of, const std::string& sha256) {
    rows += row({of, "<code>" + html_text(sha256) + "</code>"});
  };
  hash("calibration", r.calibration_sha256);
  if (!r.model_sha256.empty()) hash("dense model", r.model_sha256);
  for (const auto& [name, sha256] : r.files) hash(html_text(name), sha256);
  return section("Versions and hashes",
                 "The hashes are SHA-256: of the calibration's token ids, of the dense model's "
                 "files, and of the files beside this page, which <code>slice_model --check</code> "
                 "compares. <code>slice_report.json</code> holds every number of this page.",
                 facts(rows));
}

}  // namespace slice::detail
