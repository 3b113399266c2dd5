#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace slice {

/// What a model reads, and the text after it whose log-likelihood counts.
struct TaskChoice {
  std::string context, continuation;
  int64_t characters = 0;  ///< code points of the choice itself, by which acc_norm divides
};

/// One question of a zero-shot task.
struct TaskQuestion {
  std::string document = {};  ///< the record as it was read, JSON in one line
  std::vector<TaskChoice> choices = {};
  int64_t gold = 0;  ///< the right choice
  std::string target =
      {};  ///< the right answer as lm-evaluation-harness writes it into its samples
};

/// The questions of one task, with the prompts of lm-evaluation-harness 0.4.13 (no examples in the
/// context).
struct Task {
  std::string name, version;  ///< "piqa", "1.0": the harness's
  bool last_word = false;     ///< LAMBADA: one continuation, right where greedy decoding gives it
  bool normalised = false;    ///< acc_norm is reported beside acc
  std::filesystem::path file = {};  ///< where the questions came from
  std::vector<TaskQuestion> questions = {};
  int64_t total = 0;  ///< questions in the file; more than `questions` under a limit
};

/// piqa, winogrande, hellaswag, arc_easy, arc_challenge, lambada_openai, boolq, openbookqa, copa.
const std::vector<std::string>& task_names();

/// Reads the questions of a task from `directory`: the file named as the task (`piqa.jsonl`, or
/// with _val, _validation, _dev or _test; compressed by gzip, xz or zstd where the name says so),
/// in the form in which the data set is published or in which the Hugging Face hub serves it; for
/// WinoGrande and ARC also prepared prompts (query, choices, gold; context_options, continuation,
/// gold), for HellaSwag also six lines a question (context, number, four endings).
///
/// @param limit  questions at most, the first ones
/// @throws ArgumentError  no such task, limit < 1
/// @throws FormatError    no file, or a record without its fields (names file and line)
Task read_task(const std::string& name, const std::filesystem::path& directory,
               std::optional<int64_t> limit = std::nullopt);

}  // namespace slice
