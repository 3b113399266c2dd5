#include "libslice/evaluate/tasks.h"

#include <algorithm>
#include <span>

#include "libslice/base/detail/json.h"
#include "libslice/evaluate/detail/task_records.h"
#include "libslice/evaluate/detail/task_text.h"
#include "libslice/text/text_file.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const detail::TaskForm& form_of(const std::string& name) {
  for (const detail::TaskForm& form : detail::task_forms())
    if (form.name == name) return form;
  std::string all;
  for (const std::string& known : task_names()) all += (all.empty() ? "" : ", ") + known;
  throw ArgumentError(detail::formatted("task '{}' is not known; known are {}", name, all));
}

/// The first of the names under which a task's file is known.
fs::path find_file(const std::string& name, const fs::path& directory) {
  SLICE_FORMAT_CHECK(fs::is_directory(directory), "{}: no such directory", directory.string());
  for (const char* part : {"", "_val", "_validation", "_dev", "_test"})
    for (const char* kind : {".jsonl", ".json", ".txt"})
      for (const char* packed : {"", ".xz", ".gz", ".zst"}) {
        const fs::path path = directory / (name + part + kind + packed);
        if (fs::exists(path)) return path;
      }
  throw FormatError(detail::formatted(
      "{}: no file of the task {}: want {}.jsonl (or _val, _validation, _dev, _test; .xz, .gz, "
      ".zst)",
      directory.string(), name, name));
}

struct Record {
  json value;
  std::string place;  // file and line, for messages
  std::string text;   // JSON in one line
};

/// Records of JSON lines, or of one JSON list; blank lines do not count.
std::vector<Record> json_records(const std::string& text, const std::string& name) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  std::vector<Record> records;
  if (first != std::string::npos && text[first] == '[') {
    for (json& value : detail::parse_json(text, name)) {
      std::string place = detail::formatted("{}: record {}", name, records.size());
      std::string line = value.dump();
      records.push_back({std::move(value), std::move(place), std::move(line)});
    }
    return records;
  }
  int64_t number = 0;
  for (const std::string& line : detail::lines_of(text)) {
    std::string place = detail::formatted("{}: line {}", name, ++number);
    if (detail::end_without_space(line) == 0) continue;
    json value = detail::parse_json(line, place);
    records.push_back({std::move(value), std::move(place), line});
  }
  return records;
}

/// HellaSwag's form of six lines a question: a context, the right ending's number, four endings.
std::vector<Record> six_line_records(const std::string& text, const std::string& name) {
  constexpr size_t kLines = 6;
  const std::vector<std::string> lines = detail::lines_of(text);
  SLICE_FORMAT_CHECK(lines.size() % kLines == 0, "{}: want six lines a question, got {} lines",
                     name, lines.size());
  std::vector<Record> records;
  for (auto line = lines.begin(); line != lines.end(); line += kLines) {
    const json value = {{"ctx", line[0]},
                        {"label", line[1]},
                        {"endings", std::vector<std::string>(line + 2, line + kLines)}};
    records.push_back(
        {value, detail::formatted("{}: line {}", name, line - lines.begin() + 1), value.dump()});
  }
  return records;
}

}  // namespace

const std::vector<std::string>& task_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const detail::TaskForm& form : detail::task_forms()) all.emplace_back(form.name);
    return all;
  }();
  return names;
}

Task read_task(const std::string& name, const fs::path& directory, std::optional<int64_t> limit) {
  const detail::TaskForm& form = form_of(name);
  SLICE_ARGUMENT_CHECK(!limit || *limit > 0, "limit {}: want at least 1", *limit);
  Task task{.name = name,
            .version = form.version,
            .last_word = form.last_word,
            .normalised = form.normalised,
            .file = find_file(name, directory)};
  const std::string file = task.file.string();
  const std::string text = read_file_text(file);
  const bool six_lines = name == "hellaswag" && file.find(".txt") != std::string::npos;
  const std::vector<Record> records =
      six_lines ? six_line_records(text, file) : json_records(text, file);
  SLICE_FORMAT_CHECK(!records.empty(), "{}: holds no question", file);
  task.total = static_cast<int64_t>(records.size());
  const int64_t count = std::min(task.total, limit.value_or(task.total));
  for (const Record& record : std::span(records).first(static_cast<size_t>(count))) {
    task.questions.push_back(form.question(record.value, record.place));
    task.questions.back().document = record.text;
  }
  return task;
}

}  // namespace slice
