#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libslice/base/progress.h"
#include "libslice/evaluate/continuations.h"
#include "libslice/evaluate/tasks.h"

namespace slice {

class Model;
class Tokenizer;

/// One number about a task: "acc", "acc_norm" or "perplexity".
struct TaskMetric {
  std::string name;
  double value = 0;
  std::optional<double> standard_error = {};  ///< absent for a single question
  bool higher_is_better = true;
};

/// How a model answered one question.
struct TaskAnswer {
  std::vector<ContinuationScore> scores;  ///< of each choice
  double right = 0;                       ///< acc of this question: 0 or 1
  double right_normalised = 0;            ///< acc_norm
};

struct TaskResult {
  std::vector<TaskMetric> metrics;
  std::vector<TaskAnswer> answers;  ///< of each question, in the task's order
  double seconds = 0;
};

/// What scores of its choices make of one question of a task.
/// @param scores  as many as question `number` of the task has choices
TaskAnswer answer_of(const Task& task, size_t number, std::vector<ContinuationScore> scores);

/// Asks a model the questions of a task, as lm-evaluation-harness 0.4.13 does: the choice with the
/// greatest log-likelihood wins (acc), or with the greatest per character (acc_norm), the first of
/// equal ones. Standard errors are those of the mean; of LAMBADA's perplexity by the harness's
/// bootstrap, with its seeds. The processes of a group share the questions, as score_continuations
/// says.
///
/// @throws as encode_continuation and score_continuations do
/// Cost, memory: score_continuations'; LAMBADA's standard error 10^5 resamplings besides.
TaskResult evaluate_task(const Model& model, const Tokenizer& tokenizer, const Task& task,
                         const OnProgress& on_progress = {}, const ProcessGroup& ranks = {});

/// The same of a model that is divided among processes, all of which call it.
TaskResult evaluate_task(GroupDecoder& decoder, const Tokenizer& tokenizer, const Task& task,
                         const OnProgress& on_progress = {});

/// What the harness says about a run beside the numbers.
struct TaskRun {
  std::string model;             ///< path
  std::string version;           ///< of libslice
  std::string device, dtype;     ///< "cuda:0", "float16"
  std::optional<int64_t> limit;  ///< questions of a task
};

/// The results of one run in the layout of the harness's results.json: results, group_subtasks,
/// configs, versions, n-shot, higher_is_better, n-samples, config.
std::string results_json(std::span<const Task> tasks, std::span<const TaskResult> results,
                         const TaskRun& run);

/// The questions of one task in the layout of the harness's samples_*.jsonl.
std::string samples_jsonl(const Task& task, const TaskResult& result);

}  // namespace slice
