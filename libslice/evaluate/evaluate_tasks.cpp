#include "libslice/evaluate/evaluate_tasks.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/evaluate/detail/standard_error.h"
#include "libslice/text/tokenizer.h"

namespace slice {
namespace {

/// The choice with the greatest log-likelihood, the first of equal ones.
int64_t best(const TaskQuestion& question, const std::vector<ContinuationScore>& scores,
             bool by_character) {
  double greatest = -std::numeric_limits<double>::infinity();
  size_t chosen = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const double characters = static_cast<double>(question.choices[i].characters);
    const double value = scores[i].log_likelihood / (by_character ? characters : 1.0);
    if (value <= greatest) continue;
    greatest = value;
    chosen = i;
  }
  return static_cast<int64_t>(chosen);
}

/// The choices of every question, on all CPU threads.
std::vector<std::vector<Continuation>> encode(const Tokenizer& tokenizer, const Task& task) {
  std::vector<std::vector<Continuation>> groups(task.questions.size());
  at::parallel_for(0, std::ssize(groups), 16, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      std::vector<TextContinuation> choices;
      for (const TaskChoice& choice : task.questions[i].choices)
        choices.push_back({choice.context, choice.continuation});
      groups[i] = encode_continuations(tokenizer, choices);
    }
  });
  return groups;
}

TaskMetric mean_metric(const char* name, const std::vector<TaskAnswer>& answers,
                       double TaskAnswer::*value) {
  std::vector<double> values;
  double sum = 0;
  for (const TaskAnswer& answer : answers) sum += values.emplace_back(answer.*value);
  TaskMetric metric{.name = name, .value = sum / static_cast<double>(values.size())};
  if (values.size() > 1) metric.standard_error = detail::mean_error(values);
  return metric;
}

TaskMetric perplexity_metric(const std::vector<TaskAnswer>& answers) {
  std::vector<double> values;
  double sum = 0;
  for (const TaskAnswer& answer : answers)
    sum += values.emplace_back(answer.scores.front().log_likelihood);
  TaskMetric metric{.name = "perplexity",
                    .value = std::exp(-sum / static_cast<double>(values.size())),
                    .higher_is_better = false};
  if (values.size() > 1) metric.standard_error = detail::perplexity_error(values);
  return metric;
}

/// @param score  of every choice, by groups of them
template <typename Score>
TaskResult evaluate(const Tokenizer& tokenizer, const Task& task, const OnProgress& on_progress,
                    const Score& score) {
  SLICE_ARGUMENT_CHECK(!task.questions.empty(), "{}: no questions", task.name);
  const detail::Stopwatch clock;
  OnProgress of_task;
  if (on_progress)
    of_task = [&](Progress progress) {
      progress.phase = task.name;
      on_progress(progress);
    };
  std::vector<std::vector<ContinuationScore>> scores = score(encode(tokenizer, task), of_task);
  TaskResult result;
  for (size_t i = 0; i < task.questions.size(); ++i)
    result.answers.push_back(answer_of(task, i, std::move(scores[i])));
  if (task.last_word) result.metrics.push_back(perplexity_metric(result.answers));
  result.metrics.push_back(mean_metric("acc", result.answers, &TaskAnswer::right));
  if (task.normalised)
    result.metrics.push_back(
        mean_metric("acc_norm", result.answers, &TaskAnswer::right_normalised));
  result.seconds = clock.seconds();
  return result;
}

}  // namespace

TaskAnswer answer_of(const Task& task, size_t number, std::vector<ContinuationScore> scores) {
  const TaskQuestion& question = task.questions.at(number);
  SLICE_ARGUMENT_CHECK(scores.size() == question.choices.size(), "{}: {} scores of {} choices",
                       task.name, scores.size(), question.choices.size());
  TaskAnswer answer{.scores = std::move(scores)};
  const auto right = [&](bool by_character) {
    return best(question, answer.scores, by_character) == question.gold ? 1.0 : 0.0;
  };
  answer.right = task.last_word ? double(answer.scores.front().greedy) : right(false);
  answer.right_normalised = task.last_word ? answer.right : right(true);
  return answer;
}

TaskResult evaluate_task(const Model& model, const Tokenizer& tokenizer, const Task& task,
                         const OnProgress& on_progress, const ProcessGroup& ranks) {
  return evaluate(tokenizer, task, on_progress, [&](const auto& groups, const OnProgress& each) {
    return score_continuations(model, groups, each, ranks);
  });
}

TaskResult evaluate_task(GroupDecoder& decoder, const Tokenizer& tokenizer, const Task& task,
                         const OnProgress& on_progress) {
  return evaluate(tokenizer, task, on_progress, [&](const auto& groups, const OnProgress& each) {
    return score_continuations(decoder, groups, each);
  });
}

}  // namespace slice
