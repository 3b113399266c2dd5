// evaluate MODEL [--perplexity TEXT] [--tasks piqa,…]: how well a model predicts texts, and how
// well it answers. Processes that torchrun starts share the windows and questions, or with
// --parallel the model.

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli.h"
#include "libslice/device/device.h"
#include "libslice/model/decoder.h"
#include "libslice/slice.h"

namespace {

using nlohmann::ordered_json;

struct Options {
  std::string path, dtype = "keep";
  std::optional<at::Device> device;
  std::optional<cli::Division> parallel;
  std::vector<std::string> texts;
  slice::WindowOptions windows{.order = slice::WindowOrder::kFirst};
  std::optional<int64_t> stride;
  std::vector<std::string> tasks;
  std::string task_directory, output;
  std::optional<int64_t> limit;
  bool log_samples = false, json = false, quiet = false;
};

void add_options(CLI::App& app, Options& o) {
  app.add_option("MODEL", o.path, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  auto* text = app.add_option("--perplexity", o.texts,
                              std::string("text to predict, repeatable: ") + cli::kTextHelp);
  cli::add_window_options(app, o.windows, "windows");
  app.add_option("--stride", o.stride,
                 "score the whole text, in windows that begin so many tokens after one another; "
                 "without it windows do not overlap and their first tokens are not scored")
      ->check(cli::at_least(1))
      ->needs(text);
  auto* tasks = app.add_option("--tasks", o.tasks,
                               "zero-shot tasks as lm-evaluation-harness asks them: piqa, "
                               "winogrande, hellaswag, arc_easy, arc_challenge, lambada_openai, "
                               "boolq, openbookqa, copa")
                    ->delimiter(',')
                    ->check(CLI::IsMember(slice::task_names()));
  auto* directory =
      app.add_option("--task-dir", o.task_directory, "where the tasks' files are: piqa.jsonl, …")
          ->needs(tasks);
  tasks->needs(directory);
  app.add_option("--limit", o.limit, "questions of a task at most, the first ones")
      ->check(cli::at_least(1))
      ->needs(tasks);
  app.add_option("--num-fewshot", "examples before each question: 0, for zero-shot")
      ->check(CLI::IsMember({"0"}))
      ->needs(tasks);
  auto* output = app.add_option("--output", o.output,
                                "write results in lm-evaluation-harness's JSON to this file")
                     ->needs(tasks);
  app.add_flag("--log-samples", o.log_samples,
               "and every question with its scores, samples_TASK.jsonl beside it")
      ->needs(output);
  cli::add_device_option(app, o.device);
  cli::add_parallel_option(app, o.parallel, "all of it, and a share of what is measured");
  cli::add_dtype_option(app, o.dtype, "type of the weights in memory; keep is float32 on the CPU");
  app.add_flag("--json", o.json, "print results as one JSON object");
  app.add_flag("--quiet", o.quiet, "no progress");
  cli::add_threads_option(app);
}

/// A text and its tokens: windows (N, T), or with a stride the whole text (n).
struct Text {
  std::string path;
  at::Tensor tokens;
  int64_t total = 0;  // tokens of all windows of the text
};

Text read_text(const slice::Tokenizer& tokenizer, const std::string& path, const Options& o) {
  if (o.stride) {
    const at::Tensor all = slice::tokenize_whole_file(tokenizer, path, o.windows.bos);
    return {path, all, all.numel()};
  }
  slice::WindowOptions whole = o.windows;
  whole.samples.reset();
  const at::Tensor all = cli::read_windows(tokenizer, path, whole);
  return {path, slice::select_windows(all, o.windows), all.numel()};
}

/// Bytes of the tokens that are scored: all but the first of each window.
int64_t scored_bytes(const slice::Tokenizer& tokenizer, const at::Tensor& tokens) {
  const at::Tensor rows = tokens.dim() == 1 ? tokens.unsqueeze(0) : tokens;
  int64_t bytes = 0;
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const at::Tensor row = rows[i].contiguous();
    const std::span ids(row.const_data_ptr<int64_t>(), static_cast<size_t>(row.size(0)));
    bytes += static_cast<int64_t>(tokenizer.decode(ids, true).size()) -
             static_cast<int64_t>(tokenizer.decode(ids.first(1), true).size());
  }
  return bytes;
}

/// What is measured: a model that this process holds, sharing the work with the others of its group,
/// or a part of one that they hold together.
class Measured {
 public:
  Measured(const Options& o, const slice::ProcessGroup& group) : group_(group) {
    if (!o.parallel || group.alone()) {
      model_.emplace(cli::load(o.path, o.device, o.dtype));
      return;
    }
    part_ = cli::load_part(o.path, *o.parallel, group,
                           {.device = slice::choose_device(o.device),
                            .dtype = cli::dtype_option(o.dtype),
                            .capacity = 1});
  }

  slice::PerplexityResult score(const at::Tensor& tokens, const Options& o) const {
    const auto progress = cli::progress(o.quiet);
    const int64_t context = o.windows.context;
    if (o.stride)
      return part_ ? slice::score_text(*part_, tokens, context, *o.stride, progress)
                   : slice::score_text(*model_, tokens, context, *o.stride, progress, group_);
    return part_ ? slice::score_windows(*part_, tokens, progress)
                 : slice::score_windows(*model_, tokens, progress, group_);
  }

  slice::TaskResult ask(const slice::Tokenizer& tokenizer, const slice::Task& task,
                        const Options& o) const {
    const auto progress = cli::progress(o.quiet);
    return part_ ? slice::evaluate_task(*part_, tokenizer, task, progress)
                 : slice::evaluate_task(*model_, tokenizer, task, progress, group_);
  }

  at::Device device() const { return part_ ? part_->device() : model_->decoder().device(); }
  at::ScalarType dtype() const { return part_ ? part_->dtype() : model_->decoder().dtype(); }

 private:
  const slice::ProcessGroup& group_;
  std::optional<slice::Model> model_;
  std::unique_ptr<slice::GroupDecoder> part_;
};

ordered_json score(const Measured& measured, const slice::Tokenizer& tokenizer, const Text& text,
                   const Options& o) {
  const slice::PerplexityResult result = measured.score(text.tokens, o);
  const double bits = -result.log_likelihood / std::log(2.0);
  ordered_json object = {{"text", text.path},
                         {"perplexity", result.perplexity},
                         {"bits_per_byte", bits / double(scored_bytes(tokenizer, text.tokens))},
                         {"tokens_scored", result.tokens_scored},
                         {"tokens_total", text.total},
                         {"context", o.windows.context},
                         {"seconds", result.seconds}};
  if (o.stride)
    object["stride"] = *o.stride;
  else
    object["windows"] = text.tokens.size(0);
  return object;
}

void print_score(const ordered_json& object) {
  const int64_t scored = object["tokens_scored"];
  const std::string how = object.contains("stride")
                              ? "with a stride of " + std::to_string(object["stride"].get<long>())
                              : "in " + std::to_string(object["windows"].get<long>()) + " windows";
  std::printf("perplexity  %.4f over %s tokens %s of %ld (%.4f bits per byte, %.0f tokens/s)  %s\n",
              object["perplexity"].get<double>(), cli::grouped(scored).c_str(), how.c_str(),
              object["context"].get<long>(), object["bits_per_byte"].get<double>(),
              static_cast<double>(scored) / std::max(object["seconds"].get<double>(), 1e-9),
              object["text"].get<std::string>().c_str());
}

std::vector<slice::Task> read_tasks(const Options& o) {
  std::vector<slice::Task> tasks;
  for (const std::string& name : o.tasks) {
    tasks.push_back(slice::read_task(name, o.task_directory, o.limit));
    if (o.limit && *o.limit > tasks.back().total)
      cli::warn(name + ": " + std::to_string(tasks.back().total) + " questions, fewer than the " +
                std::to_string(*o.limit) + " asked for");
  }
  return tasks;
}

void print_result(const slice::Task& task, const slice::TaskResult& result) {
  for (const slice::TaskMetric& metric : result.metrics) {
    std::printf("%-16s %-10s %8.4f", task.name.c_str(), metric.name.c_str(), metric.value);
    if (metric.standard_error) std::printf(" ± %.4f", *metric.standard_error);
    std::printf("\n");
  }
}

/// Where the questions of a task go.
std::filesystem::path samples_path(const Options& o, const std::string& task) {
  return std::filesystem::path(o.output).parent_path() / ("samples_" + task + ".jsonl");
}

void check_outputs(const Options& o) {
  if (!o.output.empty()) slice::check_output(o.output);
  for (size_t i = 0; o.log_samples && i < o.tasks.size(); ++i)
    slice::check_output(samples_path(o, o.tasks[i]));
}

std::string dtype_name(at::ScalarType dtype) {
  return dtype == at::kHalf ? "float16" : dtype == at::kBFloat16 ? "bfloat16" : "float32";
}

/// Every process of a group measures; the first one prints and writes.
void evaluate(const CLI::App& app, Options& o) {
  if (o.texts.empty() && o.tasks.empty())
    throw CLI::ValidationError("evaluate", "want --perplexity TEXT or --tasks NAMES");
  const slice::ProcessGroup group = cli::join_group(o.device);
  const bool writes = group.rank() == 0;
  if (!writes) o.quiet = true;
  if (writes) check_outputs(o);
  const std::vector<slice::Task> tasks = read_tasks(o);
  if (!o.texts.empty()) cli::fit_context(app, o.windows, slice::read_config(o.path));
  if (o.stride && *o.stride > o.windows.context)
    throw CLI::ValidationError("--stride",
                               "want at most the context, " + std::to_string(o.windows.context));
  const auto tokenizer = slice::load_tokenizer(o.path);
  std::vector<Text> texts;
  for (const std::string& path : o.texts) texts.push_back(read_text(*tokenizer, path, o));
  cli::check_interrupted();
  const Measured measured(o, group);

  ordered_json printed = ordered_json::array();
  for (const Text& text : texts) {
    printed.push_back(score(measured, *tokenizer, text, o));
    if (writes && !o.json) print_score(printed.back());
  }
  std::vector<slice::TaskResult> results;
  for (const slice::Task& task : tasks) {
    results.push_back(measured.ask(*tokenizer, task, o));
    if (writes && !o.json) print_result(task, results.back());
  }
  if (!writes) return;
  const std::string all = slice::results_json(tasks, results,
                                              {.model = o.path,
                                               .version = slice::version(),
                                               .device = measured.device().str(),
                                               .dtype = dtype_name(measured.dtype()),
                                               .limit = o.limit});
  if (!o.output.empty()) slice::write_output(o.output, all);
  for (size_t i = 0; o.log_samples && i < tasks.size(); ++i)
    slice::write_output(samples_path(o, tasks[i].name), slice::samples_jsonl(tasks[i], results[i]));
  if (!o.json) return;
  ordered_json object = printed.size() == 1 ? printed[0] : ordered_json::object();
  if (printed.size() > 1) object["texts"] = printed;
  if (!tasks.empty()) object["tasks"] = ordered_json::parse(all);
  std::printf("%s\n", object.dump(2).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures a language model.", "evaluate");
  add_options(app, options);
  return cli::run(app, argc, argv, [&] { evaluate(app, options); });
}
