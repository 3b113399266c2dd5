#include "libslice/evaluate/tasks.h"

#include <catch2/catch_all.hpp>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "libslice/base/detail/sha256.h"
#include "libslice/base/error.h"
#include "libslice/evaluate/detail/python_random.h"
#include "libslice/evaluate/evaluate_tasks.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

namespace fs = std::filesystem;

void put(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

Task read_text_as(const std::string& name, const std::string& text, const std::string& file = "") {
  const tests::TemporaryDirectory directory;
  put(directory.path() / (file.empty() ? name + ".jsonl" : file), text);
  return read_task(name, directory.path());
}

/// "context|continuation" of every choice, and the right one.
std::string shown(const TaskQuestion& question) {
  std::string all;
  for (const TaskChoice& choice : question.choices)
    all +=
        choice.context + "|" + choice.continuation + "#" + std::to_string(choice.characters) + "\n";
  return all + std::to_string(question.gold) + " " + question.target;
}

}  // namespace

TEST_CASE("published records become the prompts, answers and verdicts of lm-evaluation-harness") {
  std::ifstream file(tests::data_directory() / "task_goldens.json");
  const auto goldens = nlohmann::ordered_json::parse(file);
  REQUIRE(goldens.size() == task_names().size());
  for (const auto& [name, golden] : goldens.items()) {
    std::string lines;
    for (const auto& question : golden["questions"]) lines += question["record"].dump() + "\n\n";
    const Task task = read_text_as(name, lines);
    CHECK(task.version == golden["version"].get<std::string>());
    REQUIRE(task.questions.size() == golden["questions"].size());
    for (size_t i = 0; i < task.questions.size(); ++i) {
      CAPTURE(name, i);
      const TaskQuestion& question = task.questions[i];
      const auto& wanted = golden["questions"][i];
      REQUIRE(question.choices.size() == wanted["pairs"].size());
      std::vector<ContinuationScore> scores;
      for (size_t j = 0; j < question.choices.size(); ++j) {
        CHECK(question.choices[j].context == wanted["pairs"][j][0].get<std::string>());
        CHECK(question.choices[j].continuation == wanted["pairs"][j][1].get<std::string>());
        scores.push_back({wanted["scores"][j].get<double>(), false});
      }
      CHECK(question.document == wanted["record"].dump());
      CHECK(question.target == wanted["target"].get<std::string>());
      const TaskAnswer answer = answer_of(task, i, scores);
      CHECK(answer.right == wanted["metrics"]["acc"].get<double>());
      if (task.normalised)
        CHECK(answer.right_normalised == wanted["metrics"]["acc_norm"].get<double>());
    }
  }
}

TEST_CASE("prepared prompts, lists and six lines a question are read too") {
  CHECK(shown(read_text_as("arc_easy",
                           R"([{"query": "Question: Q", "choices": ["a", "b"], )"
                           R"("gold": 1}])",
                           "arc_easy.json")
                  .questions.at(0)) == "Question: Q\nAnswer:| a#1\nQuestion: Q\nAnswer:| b#1\n1 1");
  CHECK(shown(read_text_as("winogrande", R"({"context_options": ["A x", "A y"], )"
                                         R"("continuation": "ran.", "gold": 0})")
                  .questions.at(0)) == "A x| ran.#3\nA y| ran.#3\n0 ran.");
  const Task swag = read_text_as("hellaswag", "Tea: he\n2\na\nb\nc\nd\n", "hellaswag_val.txt");
  CHECK(shown(swag.questions.at(0)) ==
        "Tea: he| a#1\nTea: he| b#1\nTea: he| c#1\nTea: he| d#1\n2 2");
}

TEST_CASE("a broken task file names its line") {
  const std::string good = R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 0})";
  const std::vector<std::array<std::string, 3>> cases = {
      {"piqa", good + "\n{\"goal\": \"g\"}", "is missing"},
      {"piqa", good + "\n\nnonsense", "line 3"},
      {"piqa", good + "\n[1]", "line 2"},
      {"piqa", R"({"goal": 3, "sol1": "a", "sol2": "b", "label": 0})", "want a string"},
      {"piqa", R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 2})", "choice 2 of 2"},
      {"piqa", R"({"goal": "g", "sol1": "a", "sol2": "b", "label": "one"})", "want a number"},
      {"piqa", R"({"goal": "g", "sol1": "a", "sol2": "b"})", "'label' is missing"},
      {"piqa", "\n \n", "holds no question"},
      {"piqa", "{\"goal\": \"\xff\"}", "UTF-8"},
      {"winogrande", R"({"sentence": "no gap", "option1": "a", "option2": "b", "answer": "1"})",
       "no '_'"},
      {"winogrande", R"({"sentence": "a _ b", "option1": "a", "option2": "b", "answer": ""})",
       "want a number"},
      {"arc_easy",
       R"({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]},)"
       R"( "answerKey": "C"})",
       "no choice has the label 'C'"},
      {"arc_easy",
       R"({"question": "q", "choices": {"text": ["a", "b"], "label": ["A"]},)"
       R"( "answerKey": "A"})",
       "2 choices and 1 labels"},
      {"arc_easy", R"({"question": "q", "answerKey": "A"})", "'choices' is missing"},
      {"arc_easy", R"({"query": "q", "choices": ["a"], "gold": 0})", "at least two choices"},
      {"copa",
       R"({"premise": "p.", "choice1": "a", "choice2": "b", "question": "why", )"
       R"("label": 0})",
       "cause or effect"},
      {"lambada_openai", R"({"text": "word"})", "one word"},
      {"hellaswag", R"({"ctx": "c", "endings": "e", "label": 0})", "endings"},
  };
  for (const auto& [name, text, message] : cases) {
    CAPTURE(name, text);
    CHECK_THROWS_NAMING(read_text_as(name, text), FormatError, message);
    CHECK_THROWS_NAMING(read_text_as(name, text), FormatError, name + ".jsonl");
  }
  CHECK_THROWS_NAMING(read_text_as("hellaswag", "a\n1\nb\n", "hellaswag.txt"), FormatError,
                      "six lines");
  const tests::TemporaryDirectory empty;
  CHECK_THROWS_NAMING(read_task("piqa", empty.path()), FormatError, "piqa.jsonl");
  CHECK_THROWS_NAMING(read_task("piqa", empty.path() / "none"), FormatError, "no such directory");
  CHECK_THROWS_NAMING(read_task("mmlu", empty.path()), ArgumentError, "known are piqa");
  put(empty.path() / "piqa.jsonl", good);
  CHECK_THROWS_NAMING(read_task("piqa", empty.path(), 0), ArgumentError, "limit 0");
  CHECK(read_task("piqa", empty.path(), 5).questions.size() == 1);
}

namespace {

/// A text as Python's json.dumps writes it.
void append_json(std::string& all, const std::string& text) {
  all += nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/true);
}

/// SHA-256 of json.dumps(pairs) of all questions after random.Random(42).shuffle(questions).
std::string hash_of_pairs(Task task) {
  detail::PythonRandom random(42);
  for (size_t i = task.questions.size() - 1; i > 0; --i)
    std::swap(task.questions[i], task.questions[random.below(static_cast<uint32_t>(i + 1))]);
  std::string all = "[";
  for (const TaskQuestion& question : task.questions)
    for (const TaskChoice& choice : question.choices) {
      all += all.size() > 1 ? ", [" : "[";
      append_json(all, choice.context);
      all += ", ";
      append_json(all, choice.continuation);
      all += "]";
    }
  all += "]";
  detail::Sha256 sha;
  sha.add(all.data(), all.size());
  return sha.text();
}

}  // namespace

TEST_CASE("the pairs of whole data sets are the harness's") {
  const auto data = tests::shared_data("zero-shot");
  if (!data) SKIP("zero-shot data is absent");
  const std::map<std::string, std::string> hashes = {
      {"winogrande", "90a3eff49de9173964d46f5ed57bcf9a78a72dd1bfe0e5323b25cebb40b49ea9"},
      {"piqa", "6048a3a2bb3ad1e6a3d98139618e06b4d7de766edd685bd38837596199c3f69f"},
      {"openbookqa", "78a49a0ca1a47373adb33463b1d092e6bc0d8f4b01bcb380ada48065037849d7"},
      {"copa", "66276b9045b5300cba4b81340db06f674f031fa0b8883714ad0d03be464cd799"}};
  for (const auto& [name, hash] : hashes) {
    CAPTURE(name);
    if (fs::exists(*data / (name + ".jsonl.xz")) || fs::exists(*data / (name + ".jsonl")))
      CHECK(hash_of_pairs(read_task(name, *data)) == hash);
  }
}

TEST_CASE("Python's random numbers") {
  detail::PythonRandom random(42);  // random.Random(42)
  CHECK(random.uniform() == 0.6394267984578837);
  CHECK(random.uniform() == 0.025010755222666936);
  CHECK(random.below(1000) == 281);  // randrange(1000)
}

}  // namespace slice
