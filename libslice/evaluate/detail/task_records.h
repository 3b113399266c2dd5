#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libslice/evaluate/tasks.h"

namespace slice::detail {

/// How a task is asked: the harness's YAML in code.
struct TaskForm {
  const char* name;
  const char* version;
  bool last_word, normalised;
  /// All of a question but its document.
  TaskQuestion (*question)(const nlohmann::json& record, const std::string& where);
};

/// All of them, in the order of task_names().
const std::vector<TaskForm>& task_forms();

}  // namespace slice::detail
