#include "examples/serve/metrics.h"

#include <fmt/core.h>

#include <algorithm>

namespace serve {
namespace {

/// A label's value in Prometheus's text form.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '\\' || c == '"') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result + "\"";
}

std::string header(const std::string& name, const char* type, const std::string& help) {
  return fmt::format("# HELP libslice_{0} {1}\n# TYPE libslice_{0} {2}\n", name, help, type);
}

template <typename T>
std::string one(const std::string& name, const char* type, const std::string& help, T value) {
  return header(name, type, help) + fmt::format("libslice_{} {}\n", name, value);
}

double ratio(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string engine_gauges(const slice::EngineStatistics& s) {
  return one("num_requests_running", "gauge", "texts that are being written", s.running) +
         one("num_requests_waiting", "gauge", "requests that wait for a slot", s.waiting) +
         one("slots", "gauge", "texts that can be written at once", s.slots) +
         one("kv_cache_usage_ratio", "gauge", "positions of the slots that are in use",
             ratio(s.cached_positions, s.positions)) +
         one("prefix_cache_bytes", "gauge", "keys and values kept for prompts to come",
             s.prefix_bytes);
}

std::string engine_counters(const slice::EngineStatistics& s) {
  const auto counter = [](const char* name, const char* help, auto value) {
    return one(name, "counter", help, value);
  };
  const std::string ended = "request_success_total";
  std::string text =
      counter("prompt_tokens_total", "tokens of prompts that were computed", s.prompt_tokens) +
      counter("prompt_tokens_cached_total", "tokens of prompts that were copied", s.reused_tokens) +
      counter("generation_tokens_total", "tokens that were written", s.completion_tokens) +
      counter("prompt_seconds_total", "spent computing prompts", s.prompt_seconds) +
      counter("generation_seconds_total", "spent in steps of running texts", s.step_seconds) +
      counter("decode_steps_total", "steps", s.steps) +
      counter("prefix_cache_queries_total", "prompts", s.prompts) +
      counter("prefix_cache_hits_total", "prompts of which a part was copied", s.prefix_hits) +
      counter("requests_refused_total", "requests that the full queue refused", s.refused) +
      header(ended, "counter", "requests of the engine by how they ended");
  for (const auto& [reason, count] : {std::pair("finished", s.finished),
                                      {"cancelled", s.cancelled},
                                      {"deadline", s.expired},
                                      {"error", s.failed}})
    text += fmt::format("libslice_{}{{finished_reason=\"{}\"}} {}\n", ended, reason, count);
  return text;
}

}  // namespace

void Histogram::add(double seconds) {
  const auto place = std::ranges::lower_bound(bounds_, seconds) - bounds_.begin();
  ++counts_[static_cast<size_t>(place)];
  sum_ += seconds;
}

std::string Histogram::text(const std::string& name, const std::string& help) const {
  std::string text = header(name, "histogram", help);
  int64_t count = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    count += counts_[i];
    const std::string bound = i < bounds_.size() ? fmt::format("{}", bounds_[i]) : "+Inf";
    text += fmt::format("libslice_{}_bucket{{le=\"{}\"}} {}\n", name, bound, count);
  }
  return text + fmt::format("libslice_{0}_sum {1}\nlibslice_{0}_count {2}\n", name, sum_, count);
}

void Metrics::add_answer(const std::string& path, int status) {
  const std::lock_guard lock(mutex_);
  ++answers_[{path, status}];
}

void Metrics::add_job(const Job::Times& times, const slice::Usage& usage, bool whole) {
  const std::lock_guard lock(mutex_);
  if (times.first_token >= 0) first_token_.add(times.first_token);
  if (!whole) return;
  request_.add(times.total);
  if (usage.completion_tokens > 1 && times.first_token >= 0) {
    token_.add((times.total - times.first_token) /
               static_cast<double>(usage.completion_tokens - 1));
  }
}

std::string Metrics::text(const slice::EngineStatistics& engine, const std::string& model) const {
  const std::lock_guard lock(mutex_);
  std::string text =
      header("model_info", "gauge", "the model, always 1") +
      fmt::format("libslice_model_info{{model_name={}}} 1\n", quoted(model)) +
      engine_gauges(engine) + engine_counters(engine) +
      first_token_.text("time_to_first_token_seconds",
                        "from a request to the first token of any of its texts") +
      token_.text("time_per_output_token_seconds", "of each request, after its first") +
      request_.text("e2e_request_latency_seconds", "of whole requests") +
      header("http_requests_total", "counter", "answers by path and status");
  for (const auto& [key, count] : answers_) {
    text += fmt::format("libslice_http_requests_total{{path={},status=\"{}\"}} {}\n",
                        quoted(key.first), key.second, count);
  }
  return text;
}

}  // namespace serve
