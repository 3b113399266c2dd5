#include "libslice/evaluate/detail/task_records.h"

#include <algorithm>
#include <charconv>

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/evaluate/detail/task_text.h"

namespace slice::detail {
namespace {

using nlohmann::json;

// What stands between a context and a choice.
constexpr const char* kDelimiter = " ";

std::string text_of(const json& record, const char* key, const std::string& where) {
  return field<std::string>(record, key, where);
}

std::vector<std::string> texts(const json& list, const std::string& where) {
  std::vector<std::string> all;
  for (const json& text : list) {
    SLICE_FORMAT_CHECK(text.is_string(), "{}: want text, got {}", where, text.type_name());
    all.push_back(text.get<std::string>());
  }
  return all;
}

/// An integer, a boolean, or an integer written as text: all three are published.
int64_t number_of(const json& record, const char* key, const std::string& where) {
  const auto found = record.is_object() ? record.find(key) : record.end();
  SLICE_FORMAT_CHECK(record.is_object() && found != record.end(), "{}: '{}' is missing", where,
                     key);
  if (found->is_boolean()) return found->get<bool>() ? 1 : 0;
  if (found->is_string()) {
    const std::string text = found->get<std::string>();
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    SLICE_FORMAT_CHECK(error == std::errc() && end == text.data() + text.size(),
                       "{}: '{}': want a number, got '{}'", where, key, text);
    return value;
  }
  return field<int64_t>(record, key, where);
}

/// One context and several choices after it.
TaskQuestion choose(const std::string& context, const std::vector<std::string>& choices,
                    int64_t gold, const std::string& where) {
  SLICE_FORMAT_CHECK(choices.size() >= 2, "{}: want at least two choices, got {}", where,
                     choices.size());
  SLICE_FORMAT_CHECK(gold >= 0 && gold < static_cast<int64_t>(choices.size()),
                     "{}: the answer is choice {} of {}", where, gold, choices.size());
  TaskQuestion question{.gold = gold, .target = std::to_string(gold)};
  for (const std::string& choice : choices)
    question.choices.push_back({context, kDelimiter + choice, characters(choice)});
  return question;
}

TaskQuestion piqa(const json& record, const std::string& where) {
  return choose("Question: " + text_of(record, "goal", where) + "\nAnswer:",
                {text_of(record, "sol1", where), text_of(record, "sol2", where)},
                number_of(record, "label", where), where);
}

/// The choices stand in the context, and what follows them is scored.
TaskQuestion winogrande(const json& record, const std::string& where) {
  std::vector<std::string> contexts;
  std::string rest;
  int64_t gold = 0;
  if (record.is_object() && record.contains("context_options")) {
    contexts = texts(array_field(record, "context_options", where), where);
    rest = text_of(record, "continuation", where);
    gold = number_of(record, "gold", where);
  } else {
    const std::string sentence = text_of(record, "sentence", where);
    const size_t gap = sentence.find('_');
    SLICE_FORMAT_CHECK(gap != std::string::npos, "{}: 'sentence' has no '_'", where);
    for (const char* option : {"option1", "option2"})
      contexts.push_back(sentence.substr(0, gap) + text_of(record, option, where));
    rest = stripped(sentence.substr(gap + 1));
    gold = number_of(record, "answer", where) - 1;
  }
  TaskQuestion question = choose("", contexts, gold, where);
  for (size_t i = 0; i < contexts.size(); ++i)
    question.choices[i] = {contexts[i], kDelimiter + rest, characters(contexts[i])};
  question.target = rest;
  return question;
}

TaskQuestion hellaswag(const json& record, const std::string& where) {
  std::string context;
  if (record.is_object() && record.contains("ctx_a")) {
    const std::string activity = text_of(record, "activity_label", where);
    context = without_wikihow_marks(activity + ": " + text_of(record, "ctx_a", where) + " " +
                                    capitalized(text_of(record, "ctx_b", where)));
  } else {
    context = text_of(record, "ctx", where);
  }
  std::vector<std::string> endings = texts(array_field(record, "endings", where), where);
  for (std::string& ending : endings) ending = without_wikihow_marks(ending);
  return choose(context, endings, number_of(record, "label", where), where);
}

/// Texts and labels of {"text": […], "label": […]} or [{"text": …, "label": …}, …].
std::pair<std::vector<std::string>, std::vector<std::string>> labelled(const json& choices,
                                                                       const std::string& where) {
  if (choices.is_object())
    return {texts(array_field(choices, "text", where), where),
            texts(array_field(choices, "label", where), where)};
  std::pair<std::vector<std::string>, std::vector<std::string>> all;
  SLICE_FORMAT_CHECK(choices.is_array(), "{}: 'choices': want a list or an object, got {}", where,
                     choices.type_name());
  for (const json& choice : choices) {
    all.first.push_back(text_of(choice, "text", where));
    all.second.push_back(text_of(choice, "label", where));
  }
  return all;
}

/// A stem with labelled choices, ARC's and OpenBookQA's form; the answer is a label.
struct Labelled {
  std::string stem;
  std::vector<std::string> choices;
  int64_t gold;
};

Labelled labelled_question(const json& record, const char* stem_key, const std::string& where) {
  SLICE_FORMAT_CHECK(record.is_object(), "{}: want an object, got {}", where, record.type_name());
  const bool nested = record.contains("question") && record["question"].is_object();
  const json& place = nested ? record["question"] : record;
  SLICE_FORMAT_CHECK(place.contains("choices"), "{}: 'choices' is missing", where);
  auto [choices, labels] = labelled(place["choices"], where);
  SLICE_FORMAT_CHECK(choices.size() == labels.size(), "{}: {} choices and {} labels", where,
                     choices.size(), labels.size());
  const std::string answer = stripped(text_of(record, "answerKey", where));
  const auto found = std::find(labels.begin(), labels.end(), answer);
  SLICE_FORMAT_CHECK(found != labels.end(), "{}: no choice has the label '{}'", where, answer);
  return {text_of(place, nested ? "stem" : stem_key, where), std::move(choices),
          found - labels.begin()};
}

TaskQuestion arc(const json& record, const std::string& where) {
  if (record.is_object() && record.contains("query"))
    return choose(text_of(record, "query", where) + "\nAnswer:",
                  texts(array_field(record, "choices", where), where),
                  number_of(record, "gold", where), where);
  const Labelled asked = labelled_question(record, "question", where);
  return choose("Question: " + asked.stem + "\nAnswer:", asked.choices, asked.gold, where);
}

TaskQuestion openbookqa(const json& record, const std::string& where) {
  const Labelled asked = labelled_question(record, "question_stem", where);
  return choose(asked.stem, asked.choices, asked.gold, where);
}

TaskQuestion lambada(const json& record, const std::string& where) {
  const std::string text = text_of(record, "text", where);
  const size_t gap = text.rfind(' ');
  SLICE_FORMAT_CHECK(gap != std::string::npos, "{}: 'text' has one word", where);
  const std::string last = text.substr(gap);
  return {.choices = {{text.substr(0, gap), last, characters(last)}}, .target = last};
}

TaskQuestion boolq(const json& record, const std::string& where) {
  const char* key = record.is_object() && record.contains("label") ? "label" : "answer";
  return choose(text_of(record, "passage", where) +
                    "\nQuestion: " + text_of(record, "question", where) + "?\nAnswer:",
                {"no", "yes"}, number_of(record, key, where), where);
}

TaskQuestion copa(const json& record, const std::string& where) {
  const std::string asked = text_of(record, "question", where);
  SLICE_FORMAT_CHECK(asked == "cause" || asked == "effect",
                     "{}: 'question': want cause or effect, got '{}'", where, asked);
  const std::string premise = without_last_character(stripped(text_of(record, "premise", where)));
  std::vector<std::string> choices;
  for (const char* key : {"choice1", "choice2"})
    choices.push_back(" " + with_small_first_letter(text_of(record, key, where)));
  TaskQuestion question = choose(premise + (asked == "cause" ? " because" : " therefore"), choices,
                                 number_of(record, "label", where), where);
  question.target = choices[question.gold];
  return question;
}

}  // namespace

const std::vector<TaskForm>& task_forms() {
  static const std::vector<TaskForm> forms = {
      {"piqa", "1.0", false, true, piqa},           {"winogrande", "1.0", false, false, winogrande},
      {"hellaswag", "1.0", false, true, hellaswag}, {"arc_easy", "1.0", false, true, arc},
      {"arc_challenge", "1.0", false, true, arc},   {"lambada_openai", "1.0", true, false, lambada},
      {"boolq", "2.0", false, false, boolq},        {"openbookqa", "1.0", false, true, openbookqa},
      {"copa", "1.0", false, false, copa},
  };
  return forms;
}

}  // namespace slice::detail
