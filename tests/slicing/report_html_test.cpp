#include "libslice/slicing/report_html.h"

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>

#include "libslice/base/error.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

using namespace tests;
using Catch::Matchers::ContainsSubstring;

/// A report of many layers in which every section has something to say.
SliceReport full_report(int64_t layers) {
  SliceReport r;
  r.model = "tiny";
  r.family = "llama";
  r.dtype = "float32";
  r.device = "cpu";
  r.method = "refit";
  r.hidden_size = 64;
  r.layers = layers;
  r.asked.remove_blocks = 0.25;
  r.dense_ffn_sizes.assign(layers, 128);
  r.ffn_sizes.assign(layers, 100);
  r.stream_sizes.assign(2 * layers + 1, 48);
  r.calibration_tokens = 600;
  r.calibration_sequences = 6;
  r.calibration_context = 100;
  r.calibration_sha256 = std::string(64, 'a');
  r.texts = {{.name = "prose.txt",
              .windows = 4,
              .held_out = 1,
              .held_out_before = 3.5,
              .held_out_after = 3.75},
             {.name = "code.txt", .weight = 2, .windows = 2}};
  for (int64_t i = 0; i < 2 * layers; ++i) {
    SiteReport site{i, "model.layers." + std::to_string(i / 2) + ".mlp", 48, 0.9, 0.1};
    site.directions = 64;
    for (int64_t j = 0; j < kSpectrumPoints; ++j)
      site.spectrum.push_back(0.4 / static_cast<double>(1 + j * j));
    r.sites.push_back(site);
  }
  for (int64_t i = 0; i < 3; ++i) {
    Candidate c;
    c.kept = 48 + 8 * i;
    c.ffn_sizes = r.ffn_sizes;
    c.stock = i != 1;
    c.after.total = 700;
    c.loss = 3.75 + 0.1 * static_cast<double>(i);
    r.candidates.push_back(c);
  }
  r.before = {.total = 1000,
              .blocks = 800,
              .read = 900,
              .multiplied = 850,
              .embeddings = 150,
              .attention = 300,
              .head = 20};
  r.after = {.total = 700,
             .blocks = 550,
             .shortcuts = 50,
             .read = 600,
             .multiplied = 590,
             .embeddings = 110,
             .attention = 200,
             .head = 20};
  r.weight_bytes = 2;
  r.form.model_type = "sliced_llama";
  r.perplexity_before = 18.5;
  r.perplexity_after = 20.25;
  r.speed_before = SpeedReport{400, 24.5};
  r.speed_after = SpeedReport{500, 27};
  r.samples = {{"Once", " upon a time", " there was"}};
  r.model_sha256 = std::string(64, 'b');
  r.files = {{"model.safetensors", std::string(64, 'c')}};
  r.gradient_seconds = 1;
  r.calibrate_seconds = 2;
  r.total_seconds = 4;
  r.peak_host_bytes = 3 << 20;
  r.peaks = {{"load", 1 << 20, 0}, {"slice", 3 << 20, 0}};
  return r;
}

/// What keeps a page from being well formed: an element left open, closed twice or crossed, a quote
/// or a bracket in a place where it is markup. Empty where nothing does.
std::string malformed(const std::string& html) {
  static const std::regex kTag(
      R"re(<(/?)([a-zA-Z][a-z0-9A-Z]*)((?: [a-zA-Z0-9-]+="[^"<>]*")*)(/?)>)re");
  const std::string start = "<!DOCTYPE html>";
  if (!html.starts_with(start)) return "no document type";
  std::vector<std::string> open;
  std::string rest = html.substr(start.size());
  for (size_t at = 0; (at = rest.find('<', at)) != rest.npos;) {
    std::smatch tag;
    const auto from = rest.cbegin() + static_cast<std::ptrdiff_t>(at);
    if (!std::regex_search(from, rest.cend(), tag, kTag, std::regex_constants::match_continuous))
      return "no tag: " + rest.substr(at, 60);
    const std::string name = tag[2];
    if (tag[1] == "/") {
      if (open.empty() || open.back() != name) return "</" + name + "> closes nothing";
      open.pop_back();
    } else if (tag[4] != "/" && name != "meta" && name != "br") {
      open.push_back(name);
    }
    at += static_cast<size_t>(tag.length());
  }
  return open.empty() ? "" : "<" + open.back() + "> is open";
}

TEST_CASE("a page holds every section and is well formed") {
  const std::string html = report_html(full_report(4));
  CHECK(malformed(html) == "");
  for (const char* title :
       {"What came", "What it writes", "Losses by text", "Plans that were tried",
        "Where the parameters went", "Channels kept in every layer", "Spectrum of every site",
        "Time by phase", "Memory by phase", "What was asked for", "Versions and hashes"}) {
    CHECK_THAT(html, ContainsSubstring(std::string("<h2>") + title + "</h2>"));
  }
  for (const char* shown :
       {"prose.txt", "code.txt", "<code>aaaa", "<code>bbbb", "model.safetensors</th><td><code>cccc",
        "18.50", "20.25", "−30.0 %", "upon a time", "there was",
        "25.0 % of the weights of the blocks", "prefers-color-scheme: dark", "width=device-width",
        "layer 3: 100 of 128 channels", "hidden size 48, 400 channels, loss 3.7500"}) {
    CHECK_THAT(html, ContainsSubstring(shown));
  }
  CHECK_THAT(html, ContainsSubstring(version()));
}

TEST_CASE("a page promises no losses where none were measured") {
  SliceReport report = full_report(4);
  report.texts[0].held_out_before = report.texts[0].held_out_after = std::nullopt;
  const std::string html = report_html(report);
  CHECK_THAT(html, ContainsSubstring("<h2>Calibration texts</h2>"));
  CHECK_THAT(html, ContainsSubstring("prose.txt"));
  CHECK(html.find("Losses by text") == html.npos);
  CHECK(html.find("held out") == html.npos);
  CHECK(malformed(html) == "");
}

TEST_CASE("a page needs nothing from elsewhere and stays small") {
  const std::string html = report_html(full_report(126));
  for (const char* reaching : {"<script", "src=", "href=", "url(", "@import", "http:", "https:"})
    CHECK(html.find(reaching) == html.npos);
  CHECK_THAT(html, ContainsSubstring("default-src 'none'"));
  CHECK(html.size() < 400'000);
  CHECK(malformed(html) == "");
}

TEST_CASE("a model that writes nothing but line breaks does not fill the page with them") {
  SliceReport r = full_report(1);
  r.samples = {{"Once", "\n\nupon\n\n\n a <time>", std::string(48, '\n')}};
  const std::string html = report_html(r);
  CHECK(malformed(html) == "");
  CHECK_THAT(html, ContainsSubstring("\n\nupon\n[3 line breaks]\n a &lt;time&gt;<"));
  CHECK_THAT(html, ContainsSubstring("\n[48 line breaks]\n<"));
}

TEST_CASE("names, prompts and texts from outside are text in a page") {
  const std::string hostile =
      "<script>alert('x')</script>\" onload=\"y\" & &lt; \x01\x1b[31m\r\x7f \xc2\x85 \xef\xbf\xbf "
      "\xff\xfe </style></title><!--";
  SliceReport r = full_report(2);
  r.model = r.family = r.device = r.dtype = r.shortcut = r.calibration_sha256 = hostile;
  r.texts[0].name = hostile;
  r.sites[0].name = hostile;
  r.samples = {{hostile, hostile, hostile}};
  r.files = {{hostile, hostile}};
  r.peaks[0].phase = hostile;
  const std::string html = report_html(r);
  CHECK(malformed(html) == "");
  CHECK(html.find("<script") == html.npos);
  CHECK(html.find("onload=\"y\"") == html.npos);
  CHECK(html.find("<!--") == html.npos);
  CHECK_THAT(html, ContainsSubstring("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; "
                                     "onload=&quot;y&quot; &amp; &amp;lt; \u2401\u241b[31m"
                                     "\u240d\u2421 \ufffd \ufffd \ufffd\ufffd"));
  for (const char c : html) {
    const auto byte = static_cast<unsigned char>(c);
    const bool control = (byte < 0x20 && c != '\n') || byte == 0x7f;
    if (control) FAIL_CHECK("a control character " << int(byte));
  }
  CHECK(nlohmann::json::accept(report_json(r)));
}

TEST_CASE("numbers that are none, and a report of nothing, are a page all the same") {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(),
                   kInfinity = std::numeric_limits<double>::infinity();
  SliceReport r = full_report(2);
  r.perplexity_before = kInfinity;
  r.perplexity_after = kNan;
  r.texts[0].held_out_after = kInfinity;
  r.candidates[1].loss = kNan;
  r.sites[1].kept_variance = kNan;
  r.sites[2].spectrum.assign(kSpectrumPoints, 0);
  r.sites[3].spectrum = {1};
  r.sites[3].directions = 1;
  r.total_seconds = 0;
  const std::string html = report_html(r);
  CHECK(malformed(html) == "");
  CHECK(html.find("nan") == html.npos);
  CHECK(html.find("inf\"") == html.npos);
  const std::string nothing = report_html(SliceReport{});
  CHECK(malformed(nothing) == "");
  CHECK(nothing.find("nan") == nothing.npos);
}

TEST_CASE("a model whose hidden size stays has no spectra, and an old site only its share") {
  SliceReport r = full_report(2);
  for (SiteReport& site : r.sites) site.spectrum.clear();
  CHECK_THAT(report_html(r), ContainsSubstring("90.00 %"));  // an earlier run found them
  for (SiteReport& site : r.sites) site.hidden_size = r.hidden_size;
  CHECK_THAT(report_html(r), ContainsSubstring("no site was rotated"));
}

TEST_CASE("a page is written whole or not at all, where a report could be") {
  namespace fs = std::filesystem;
  const TemporaryDirectory directory;
  const fs::path path = directory.write("page.html", "an older one");
  fs::create_symlink("page.html", directory.path() / "link.html");
  save_report_html(full_report(2), directory.path() / "link.html");
  CHECK(fs::is_symlink(directory.path() / "link.html"));
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  CHECK(text == report_html(full_report(2)));
  CHECK(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()) == 2);
  CHECK_THROWS_NAMING(save_report_html(full_report(2), directory.path()), Error, "is a directory");
  CHECK_THROWS_NAMING(save_report_html(full_report(2), directory.path() / "no" / "page.html"),
                      Error, "no/page.html: cannot create it");
}

}  // namespace
}  // namespace slice
