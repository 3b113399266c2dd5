// inspect MODEL: sizes, parameters, and what slicing would remove. Reads headers only.

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "libslice/slice.h"

int main(int argc, char** argv) {
  std::string path;
  bool json = false;
  CLI::App app("Shows the sizes and parameters of a model.", "inspect");
  app.add_option("MODEL", path,
                 "Hugging Face directory or its config.json alone, .gguf, or llama2.c .bin")
      ->required();
  app.add_flag("--json", json, "print results as one JSON object");
  return cli::run(app, argc, argv, [&] {
    const slice::ModelConfig c = slice::read_config(path);
    const slice::ParameterCount now = slice::count_parameters(c);
    nlohmann::ordered_json object = {{"family", c.family},
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
    const std::vector<int64_t> widths = c.ffn_widths();
    const auto [narrowest, widest] = std::minmax_element(widths.begin(), widths.end());
    if (*narrowest < *widest) object["ffn_sizes"] = widths;
    const slice::OutputForm form = slice::output_form(c);
    object["stock"] = form.stock;
    if (!form.gguf.empty()) object["gguf"] = form.gguf;
    if (!json) {
      std::string ffn = std::to_string(*widest);
      if (*narrowest < *widest) ffn = std::to_string(*narrowest) + " to " + ffn;
      std::printf(
          "%s: %s, hidden size %ld, %ld layers, %ld heads (%ld for keys and values) of %ld, FFN "
          "%s,\n"
          "vocabulary %ld, context %ld, head %s%s\n",
          path.c_str(), c.family.c_str(), c.hidden_size, c.layers, c.heads, c.kv_heads, c.head_size,
          ffn.c_str(), c.vocabulary_size, c.context_length, c.tied_head ? "tied" : "untied",
          c.sliced() ? ", sliced" : "");
      std::printf("parameters %s as stored, %s in blocks\n", cli::grouped(now.total).c_str(),
                  cli::grouped(now.blocks).c_str());
      std::printf("saved as   %s\n", slice::describe(form).c_str());
    }
    if (!c.sliced()) {
      if (!json) std::printf("\nslice     k   parameters   blocks, dense shortcuts\n");
      for (const double slice : {0.10, 0.20, 0.25, 0.30}) {
        const auto sizes = slice::plan_stream_sizes(c.hidden_size, c.sites(), {.slice = slice});
        const auto after = slice::count_parameters(slice::sliced_config(c, sizes));
        const double change =
            100.0 * static_cast<double>(after.blocks) / static_cast<double>(now.blocks) - 100.0;
        object["slices"].push_back({{"slice", slice},
                                    {"k", sizes.front()},
                                    {"shortcut", "dense"},
                                    {"parameters", after.total},
                                    {"block_parameters", after.blocks},
                                    {"block_change_percent", change}});
        if (!json) {
          std::printf("%3.0f %%  %5ld  %s  %s (%+.1f %%)\n", 100 * slice, sizes.front(),
                      cli::grouped(after.total).c_str(), cli::grouped(after.blocks).c_str(),
                      change);
        }
      }
    }
    if (json) std::printf("%s\n", object.dump(2).c_str());
  });
}
