#include "python/evaluation.h"

#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <optional>
#include <string>

#include "libslice/slice.h"
#include "python/held_model.h"
#include "python/python_call.h"

namespace slice::python {

namespace py = pybind11;
using Held = std::shared_ptr<HeldModel>;

namespace {

py::dict scores(const PerplexityResult& result) {
  py::dict dict;
  dict["perplexity"] = result.perplexity;
  dict["log_likelihood"] = result.log_likelihood;
  dict["tokens_scored"] = result.tokens_scored;
  dict["seconds"] = result.seconds;
  return dict;
}

py::dict score_rows(const Held& held, const at::Tensor& tokens, const py::object& on_progress) {
  PythonCall call(on_progress);
  return scores(call.run(
      [&] { return score_windows(*HeldModel::Reading(held), tokens, call.on_progress()); }));
}

py::dict score_whole(const Held& held, const at::Tensor& tokens, int64_t context, int64_t stride,
                     const py::object& on_progress) {
  PythonCall call(on_progress);
  return scores(call.run([&] {
    return score_text(*HeldModel::Reading(held), tokens, context, stride, call.on_progress());
  }));
}

py::dict ask(const Held& held, const std::string& name, const std::string& directory,
             std::optional<int64_t> limit, const py::object& on_progress) {
  PythonCall call(on_progress);
  Task task;
  const TaskResult result = call.run([&] {
    const HeldModel::Reading model(held);
    task = read_task(name, directory, limit);
    return evaluate_task(*model, model->tokenizer(), task, call.on_progress());
  });
  py::dict dict;
  for (const TaskMetric& metric : result.metrics) {
    dict[metric.name.c_str()] = metric.value;
    if (metric.standard_error) dict[(metric.name + "_stderr").c_str()] = *metric.standard_error;
  }
  dict["questions"] = task.questions.size();
  dict["seconds"] = result.seconds;
  return dict;
}

}  // namespace

void bind_evaluation(py::module_& module) {
  module.def("score_windows", &score_rows);
  module.def("score_text", &score_whole);
  module.def("evaluate_task", &ask);
  module.def("task_names", &task_names);
}

}  // namespace slice::python
