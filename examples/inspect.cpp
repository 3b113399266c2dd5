// inspect MODEL: sizes, parameters, and what slicing would remove. inspect --compare A B: two
// models, or reports of them, beside each other. Reads headers only.

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli.h"
#include "compare.h"
#include "layouts.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/decode/generator.h"
#include "libslice/slice.h"

namespace {

using nlohmann::ordered_json;

/// What a way of slicing leaves.
struct Sliced {
  int64_t kept = 0, ffn = 0;
  slice::ParameterCount after;
  slice::OutputForm form;
  double change = 0;  // of the block weights, in %
};

Sliced sliced(const slice::ModelConfig& dense, const slice::SliceOptions& options) {
  const slice::ModelConfig planned = slice::planned_config(dense, options);
  const slice::ParameterCount before = slice::count_parameters(dense),
                              after = slice::count_parameters(slice::written_config(planned));
  return {planned.stream_size(0), planned.ffn_width(0), after, slice::output_form(planned),
          100.0 * static_cast<double>(after.blocks) / static_cast<double>(before.blocks) - 100.0};
}

/// The first plan that slice_model looks at for a fraction of the block weights: the hidden size
/// kept where that reaches it. Nothing where no plan does.
std::optional<Sliced> planned(const slice::ModelConfig& dense, double fraction) {
  const slice::SliceOptions options{.remove_blocks = fraction};
  try {
    return sliced(dense,
                  slice::candidate_options(options, slice::candidates(dense, options).front()));
  } catch (const slice::ArgumentError&) {
    return std::nullopt;
  }
}

/// What SliceGPT makes of it; nothing where norms on outputs keep the stream as it is.
std::optional<Sliced> by_slicegpt(const slice::ModelConfig& dense, double fraction) {
  if (dense.norms_outputs()) return std::nullopt;
  return sliced(dense, {.method = slice::Method::kSliceGpt, .slice = fraction});
}

ordered_json as_json(const Sliced& s) {
  return {{"k", s.kept},
          {"ffn", s.ffn},
          {"parameters", s.after.total},
          {"block_parameters", s.after.blocks},
          {"block_change_percent", s.change},
          {"stock", s.form.stock}};
}

std::string as_text(const Sliced& s) {
  char text[128];
  std::snprintf(text, sizeof text, "%5ld  %5ld  %14s  %14s (%+5.1f %%)", s.kept, s.ffn,
                cli::grouped(s.after.total).c_str(), cli::grouped(s.after.blocks).c_str(),
                s.change);
  return text;
}

/// What slice_model makes of the model for some fractions, and SliceGPT for the same ones.
void add_slices(const slice::ModelConfig& dense, ordered_json& object, bool print) {
  std::optional<Sliced> plan, paper;
  if (print)
    std::printf("\n         %-58s   %s\n%8s %5s  %5s  %14s  %24s   %5s  %5s  %14s  %24s\n",
                "slice_model --remove-blocks", "slice_model --method slicegpt --slice", "fraction",
                "k", "FFN", "parameters", "blocks      ", "k", "FFN", "parameters", "blocks      ");
  object["plans"] = object["slices"] = ordered_json::array();
  for (const double fraction : {0.10, 0.20, 0.25, 0.30}) {
    const auto found = planned(dense, fraction);
    if (found) {
      plan = found;
      object["plans"].push_back(as_json(*plan));
      object["plans"].back()["remove_blocks"] = fraction;
    }
    paper = by_slicegpt(dense, fraction);
    if (paper) {
      object["slices"].push_back(as_json(*paper));
      object["slices"].back()["slice"] = fraction;
      object["slices"].back()["shortcut"] = "dense";
    }
    if (print)
      std::printf("%6.0f %% %-58s   %s\n", 100 * fraction,
                  found ? as_text(*found).c_str() : "      none reaches it",
                  paper ? as_text(*paper).c_str() : "      the hidden size stays");
  }
  if (print)
    std::printf("runs in    %-56s     %s\n", plan ? slice::describe(plan->form).c_str() : "",
                paper ? slice::describe(paper->form).c_str() : "");
}

ordered_json described(const slice::ModelConfig& c, const slice::ParameterCount& now) {
  ordered_json object = {{"family", c.family},
                         {"hidden_size", c.hidden_size},
                         {"layers", c.layers},
                         {"heads", c.heads},
                         {"kv_heads", c.kv_heads},
                         {"head_size", c.head_size},
                         {"ffn_size", c.ffn_size},
                         {"vocabulary_size", c.vocabulary_size},
                         {"context", c.context_length},
                         {"tied_head", c.tied_head},
                         {"sliced", c.sliced()},
                         {"parameters", now.total},
                         {"block_parameters", now.blocks}};
  if (!c.ffn_sizes.empty()) object["ffn_sizes"] = c.ffn_sizes;
  if (c.routed()) {
    object["experts"] = c.experts.count;
    object["experts_per_token"] = c.experts.per_token;
    object["parameters_read_per_token"] = now.read;
  }
  const slice::OutputForm form = slice::output_form(c);
  object["stock"] = form.stock;
  object["vllm"] = form.vllm;
  if (!form.gguf.empty()) object["gguf"] = form.gguf;
  object["decodes_captured"] = slice::decodes_captured(c);
  return object;
}

void print_model(const std::string& path, const slice::ModelConfig& c,
                 const slice::ParameterCount& now) {
  const std::vector<int64_t> widths = c.ffn_widths();
  const auto [narrowest, widest] = std::ranges::minmax(widths);
  std::string ffn = std::to_string(widest);
  if (narrowest < widest) ffn = std::to_string(narrowest) + " to " + ffn;
  std::printf(
      "%s: %s, hidden size %ld, %ld layers, %ld heads (%ld for keys and values) of %ld, FFN "
      "%s,\n"
      "vocabulary %ld, context %ld, head %s%s\n",
      path.c_str(), c.family.c_str(), c.hidden_size, c.layers, c.heads, c.kv_heads, c.head_size,
      ffn.c_str(), c.vocabulary_size, c.context_length, c.tied_head ? "tied" : "untied",
      c.sliced() ? ", sliced" : "");
  std::printf("parameters %s as stored, %s in blocks\n", cli::grouped(now.total).c_str(),
              cli::grouped(now.blocks).c_str());
  if (c.routed())
    std::printf("experts    %ld in each layer, %ld for a token, which reads %s parameters\n",
                c.experts.count, c.experts.per_token, cli::grouped(now.read).c_str());
  std::printf("saved as   %s\n", slice::describe(slice::output_form(c)).c_str());
  std::printf("decodes    on a GPU by %s\n", slice::decodes_captured(c)
                                                 ? "a captured graph of our kernels"
                                                 : "LibTorch's modules (slower)");
}

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  std::vector<std::string> compared;
  bool json = false;
  CLI::App app("Shows the sizes and parameters of a model.", "inspect");
  auto* model = app.add_option(
      "MODEL", path, "Hugging Face directory or its config.json alone, .gguf, or llama2.c .bin");
  app.add_option("--compare", compared,
                 "two models, or slice_report.json files of them, beside each other")
      ->expected(2)
      ->type_name("A B")
      ->excludes(model);
  app.add_flag("--json", json, "print results as one JSON object");
  return cli::run(app, argc, argv, [&] {
    if (!compared.empty()) return cli::compare(compared[0], compared[1], json);
    if (path.empty()) throw CLI::RequiredError("MODEL");
    const slice::ModelConfig c = slice::read_config(path);
    const slice::ParameterCount now = slice::count_parameters(c);
    ordered_json object = described(c, now);
    if (!json) print_model(path, c, now);
    if (!c.sliced()) {
      add_slices(c, object, !json);
      object["layouts"] = cli::layouts_json(c);
      if (!json) cli::print_layouts(c);
    }
    if (json) std::printf("%s\n", object.dump(2).c_str());
  });
}
