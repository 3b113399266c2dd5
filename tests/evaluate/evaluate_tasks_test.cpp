#include "libslice/evaluate/evaluate_tasks.h"

#include <catch2/catch_all.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "libslice/checkpoint/model.h"
#include "libslice/evaluate/detail/standard_error.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/places.h"

namespace slice {
namespace {

const std::filesystem::path kModel = tests::data_directory() / "trained_phi";

Task small_task(bool last_word) {
  Task task{.name = last_word ? "lambada_openai" : "piqa",
            .version = "1.0",
            .last_word = last_word,
            .normalised = !last_word};
  for (const char* word : {"the", "a", "two"}) {
    const std::string context = std::string("He said that ") + word;
    TaskQuestion question{.document = R"({"b": 1, "a": 2})", .gold = last_word ? 0 : 1};
    question.choices.push_back({context, " house", 5});
    if (!last_word) question.choices.push_back({context, " was", 3});
    question.target = "1";
    task.questions.push_back(question);
  }
  task.total = 5;
  return task;
}

}  // namespace

TEST_CASE("metrics are means over answers, with the standard errors of the harness") {
  const Model model = load_model(kModel);
  for (const bool last_word : {false, true}) {
    const Task task = small_task(last_word);
    std::string phase;
    const TaskResult result = evaluate_task(
        model, model.tokenizer(), task, [&](const Progress& progress) { phase = progress.phase; });
    CHECK(phase == task.name);
    REQUIRE(result.answers.size() == 3);
    double right = 0, sum = 0;
    for (const TaskAnswer& answer : result.answers) {
      right += answer.right / 3;
      sum += answer.scores[0].log_likelihood;
    }
    REQUIRE(result.metrics.size() == 2);
    const TaskMetric& acc = result.metrics[last_word ? 1 : 0];
    CHECK(acc.name == "acc");
    CHECK(acc.value == Catch::Approx(right));
    CHECK(*acc.standard_error == Catch::Approx(std::sqrt(right * (1 - right) / 2)).margin(1e-12));
    if (last_word) CHECK(result.metrics[0].value == Catch::Approx(std::exp(-sum / 3)));
  }
}

TEST_CASE("files of results and samples have the harness's keys") {
  const Model model = load_model(kModel);
  const std::vector<Task> tasks = {small_task(false), small_task(true)};
  std::vector<TaskResult> results;
  for (const Task& task : tasks) results.push_back(evaluate_task(model, model.tokenizer(), task));
  const auto file = nlohmann::json::parse(results_json(
      tasks, results,
      {.model = "m", .version = "0", .device = "cpu", .dtype = "float32", .limit = 3}));
  for (const char* key : {"results", "group_subtasks", "configs", "versions", "n-shot",
                          "higher_is_better", "n-samples", "config"})
    CHECK(file.contains(key));
  CHECK(file["results"]["piqa"]["acc,none"] == results[0].metrics[0].value);
  CHECK(file["results"]["piqa"].contains("acc_norm_stderr,none"));
  CHECK(file["results"]["lambada_openai"].contains("perplexity,none"));
  CHECK(file["higher_is_better"]["lambada_openai"]["perplexity"] == false);
  CHECK(file["n-samples"]["piqa"] == nlohmann::json({{"original", 5}, {"effective", 3}}));
  const std::string lines = samples_jsonl(tasks[0], results[0]);
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 3);
  const auto sample = nlohmann::ordered_json::parse(lines.substr(0, lines.find('\n')));
  CHECK(sample["doc"].dump() == R"({"b":1,"a":2})");
  CHECK(sample["arguments"]["gen_args_1"]["arg_1"] == " was");
  CHECK(std::stod(sample["resps"][1][0][0].get<std::string>()) ==
        results[0].answers[0].scores[1].log_likelihood);
}

TEST_CASE("standard errors as Python computes them") {
  const std::vector<double> numbers = {-1.5, -0.25, -3, -2};
  // lm_eval.api.metrics: mean_stderr, and bootstrap_stderr(perplexity, …, 100000).
  CHECK(detail::mean_error(numbers) == Catch::Approx(0.5716842805838435).epsilon(1e-12));
  CHECK(detail::perplexity_error(numbers) == Catch::Approx(3.0800494472557642).epsilon(1e-9));
}

}  // namespace slice
