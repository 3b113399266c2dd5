#include <nlohmann/json.hpp>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/sha256.h"
#include "libslice/evaluate/evaluate_tasks.h"

namespace slice {
namespace {

using nlohmann::ordered_json;

// The harness's files call a metric "acc,none": the name, and the filter that answers went through.
constexpr const char* kFilter = "none";

std::string hash(const std::string& text) {
  detail::Sha256 sha;
  sha.add(text.data(), text.size());
  return sha.text();
}

ordered_json metrics_of(const Task& task, const TaskResult& result) {
  ordered_json all = {{"alias", task.name}, {"sample_len", result.answers.size()}};
  for (const TaskMetric& metric : result.metrics) {
    all[metric.name + "," + kFilter] = metric.value;
    ordered_json& error = all[metric.name + "_stderr," + kFilter];
    if (metric.standard_error)
      error = *metric.standard_error;
    else
      error = "N/A";
  }
  return all;
}

/// A score as the harness prints it: a pair of texts.
ordered_json pair_of(const ContinuationScore& score) {
  return {detail::formatted("{}", score.log_likelihood), score.greedy ? "True" : "False"};
}

}  // namespace

std::string results_json(std::span<const Task> tasks, std::span<const TaskResult> results,
                         const TaskRun& run) {
  ordered_json all = {
      {"results", ordered_json::object()},  {"group_subtasks", ordered_json::object()},
      {"configs", ordered_json::object()},  {"versions", ordered_json::object()},
      {"n-shot", ordered_json::object()},   {"higher_is_better", ordered_json::object()},
      {"n-samples", ordered_json::object()}};
  for (size_t i = 0; i < tasks.size(); ++i) {
    const Task& task = tasks[i];
    all["results"][task.name] = metrics_of(task, results[i]);
    all["group_subtasks"][task.name] = ordered_json::array();
    all["configs"][task.name] = {
        {"task", task.name},
        {"output_type", task.last_word ? "loglikelihood" : "multiple_choice"},
        {"num_fewshot", 0},
        {"metadata", {{"version", std::stod(task.version)}}}};
    all["versions"][task.name] = std::stod(task.version);
    all["n-shot"][task.name] = 0;
    for (const TaskMetric& metric : results[i].metrics)
      all["higher_is_better"][task.name][metric.name] = metric.higher_is_better;
    all["n-samples"][task.name] = {{"original", task.total}, {"effective", task.questions.size()}};
  }
  all["config"] = {{"model", "libslice"},    {"model_args", "pretrained=" + run.model},
                   {"device", run.device},   {"model_dtype", run.dtype},
                   {"limit", nullptr},       {"bootstrap_iters", 100000},
                   {"libslice", run.version}};
  if (run.limit) all["config"]["limit"] = *run.limit;
  all["model_name"] = run.model;
  return all.dump(2) + "\n";
}

std::string samples_jsonl(const Task& task, const TaskResult& result) {
  std::string lines;
  for (size_t i = 0; i < task.questions.size(); ++i) {
    const TaskQuestion& question = task.questions[i];
    const TaskAnswer& answer = result.answers[i];
    ordered_json sample = {{"doc_id", i},
                           {"doc", ordered_json::parse(question.document)},
                           {"target", question.target},
                           {"arguments", ordered_json::object()}};
    for (size_t j = 0; j < question.choices.size(); ++j) {
      const TaskChoice& choice = question.choices[j];
      sample["arguments"][detail::formatted("gen_args_{}", j)] = {{"arg_0", choice.context},
                                                                  {"arg_1", choice.continuation}};
      sample["resps"].push_back(ordered_json::array({pair_of(answer.scores[j])}));
      sample["filtered_resps"].push_back(pair_of(answer.scores[j]));
    }
    sample["filter"] = kFilter;
    for (const TaskMetric& metric : result.metrics) sample["metrics"].push_back(metric.name);
    sample["doc_hash"] = hash(sample["doc"].dump(2));
    sample["prompt_hash"] = hash(question.choices.front().context);
    sample["target_hash"] = hash(question.target);
    for (const TaskMetric& metric : result.metrics)
      sample[metric.name] = metric.name == "acc"        ? answer.right
                            : metric.name == "acc_norm" ? answer.right_normalised
                                                        : answer.scores.front().log_likelihood;
    lines += sample.dump() + "\n";
  }
  return lines;
}

}  // namespace slice
