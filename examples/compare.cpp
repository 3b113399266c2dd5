#include "compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <vector>

#include "cli.h"
#include "libslice/slice.h"

namespace cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// A line of the table: a number of both, where it is known.
struct Line {
  const char *key, *name;
  int digits;  // after the point
};

constexpr Line kLines[] = {{"hidden_size", "hidden size", 0},
                           {"layers", "layers", 0},
                           {"ffn", "FFN channels a layer, mean", 1},
                           {"parameters", "parameters as stored", 0},
                           {"block_parameters", "of these in the blocks", 0},
                           {"stored_bytes", "bytes stored", 0},
                           {"token_bytes", "bytes read for a token", 0},
                           {"token_flop", "FLOP for a token", 0},
                           {"held_out_loss", "held-out loss, nats a token", 4},
                           {"perplexity", "perplexity", 3}};

double mean(const std::vector<int64_t>& widths) {
  return std::accumulate(widths.begin(), widths.end(), 0.0) /
         static_cast<double>(std::max<size_t>(widths.size(), 1));
}

/// Mean of the held-out losses of all windows, where there are any.
std::optional<double> held_out_loss(const ordered_json& texts) {
  double sum = 0, windows = 0;
  for (const ordered_json& text : texts) {
    if (!text.at("held_out_after").is_number()) continue;
    sum += text.at("held_out").get<double>() * text.at("held_out_after").get<double>();
    windows += text.at("held_out").get<double>();
  }
  if (windows == 0) return std::nullopt;
  return sum / windows;
}

/// What a report measured of the sliced model.
void add_losses(const ordered_json& report, ordered_json& numbers) {
  if (const auto loss = held_out_loss(report.at("texts"))) numbers["held_out_loss"] = *loss;
  if (report.contains("perplexity")) numbers["perplexity"] = report.at("perplexity").at("after");
}

ordered_json numbers_of_report(const ordered_json& report) {
  const ordered_json &plan = report.at("plan"), &parameters = report.at("parameters");
  ordered_json numbers = {{"hidden_size", plan.at("k").at(0)},
                          {"layers", report.at("model").at("layers")},
                          {"ffn", mean(plan.at("ffn").get<std::vector<int64_t>>())},
                          {"parameters", parameters.at("after")},
                          {"block_parameters", parameters.at("blocks_after")}};
  if (report.contains("inference"))
    for (const char* key : {"stored_bytes", "token_bytes", "token_flop"})
      numbers[key] = report.at("inference").at(key).at("after");
  add_losses(report, numbers);
  return numbers;
}

/// A report's text as numbers. @throws slice::FormatError  it is none
ordered_json read_report(const fs::path& path,
                         const std::function<ordered_json(const ordered_json&)>& read) {
  try {
    return read(ordered_json::parse(slice::read_file_text(path.string())));
  } catch (const nlohmann::json::exception& error) {
    throw slice::FormatError(path.string() +
                             ": no report of slice_model: " + first_line(error.what()));
  }
}

ordered_json numbers_of_model(const std::string& path) {
  const slice::ModelConfig c = slice::read_config(path);
  const slice::ParameterCount count = slice::count_parameters(c);
  ordered_json numbers = {{"hidden_size", c.stream_size(0)},  {"layers", c.layers},
                          {"ffn", mean(c.ffn_widths())},      {"parameters", count.total},
                          {"block_parameters", count.blocks}, {"token_flop", 2 * count.multiplied}};
  if (fs::path(path).filename() == "config.json") return numbers;
  if (const auto dtype = slice::stored_dtype(*slice::open_checkpoint(path))) {
    const auto bytes = static_cast<int64_t>(c10::elementSize(*dtype));
    numbers["stored_bytes"] = count.total * bytes;
    numbers["token_bytes"] = count.read * bytes;
  }
  const fs::path report = fs::path(path) / "slice_report.json";
  if (fs::exists(report))
    numbers.update(read_report(report, [](const ordered_json& read) {
      ordered_json losses = ordered_json::object();
      add_losses(read, losses);
      return losses;
    }));
  return numbers;
}

ordered_json numbers_of(const std::string& path) {
  const fs::path file(path);
  const bool report = file.extension() == ".json" && file.filename() != "config.json";
  return report ? read_report(file, numbers_of_report) : numbers_of_model(path);
}

std::string text_of(const ordered_json& numbers, const Line& line) {
  if (!numbers.contains(line.key) || !numbers[line.key].is_number()) return "";
  const double number = std::clamp(numbers[line.key].get<double>(), -9e18, 9e18);
  if (line.digits == 0) return grouped(static_cast<int64_t>(number));
  char text[48];
  std::snprintf(text, sizeof text, "%.*f", line.digits, number);
  return text;
}

std::string change_of(const ordered_json& first, const ordered_json& second, const char* key) {
  for (const ordered_json* numbers : {&first, &second})
    if (!numbers->contains(key) || !(*numbers)[key].is_number()) return "";
  const double change = 100 * (second[key].get<double>() / first[key].get<double>() - 1);
  if (!std::isfinite(change)) return "";
  char text[48];
  std::snprintf(text, sizeof text, "%+.1f %%", change);
  return text;
}

}  // namespace

void compare(const std::string& first, const std::string& second, bool json) {
  const ordered_json a = numbers_of(first), b = numbers_of(second);
  if (json) {
    std::printf("%s\n", ordered_json::array(
                            {{{"path", first}, {"numbers", a}}, {{"path", second}, {"numbers", b}}})
                            .dump(2, ' ', false, ordered_json::error_handler_t::replace)
                            .c_str());
    return;
  }
  std::printf("A  %s\nB  %s\n\n%-30s %18s %18s %10s\n", first.c_str(), second.c_str(), "", "A", "B",
              "B against A");
  for (const Line& line : kLines) {
    const std::string left = text_of(a, line), right = text_of(b, line);
    if (!left.empty() || !right.empty())
      std::printf("%-30s %18s %18s %10s\n", line.name, left.c_str(), right.c_str(),
                  change_of(a, b, line.key).c_str());
  }
}

}  // namespace cli
