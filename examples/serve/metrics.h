#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "examples/serve/job.h"
#include "libslice/decode/engine.h"

namespace serve {

/// How often a time was at most each of some bounds.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)) {
    counts_.assign(bounds_.size() + 1, 0);
  }
  void add(double seconds);
  /// In Prometheus's text form.
  std::string text(const std::string& name, const std::string& help) const;

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;  // the last one: above all bounds
  double sum_ = 0;
};

/// What the server counts by itself; the engine counts the rest. Safe to share between threads.
class Metrics {
 public:
  void add_answer(const std::string& path, int status);
  void add_job(const Job::Times& times, const slice::Usage& usage, bool whole);
  /// All of it, with the engine's numbers, in Prometheus's text form; docs/serving.md says what each
  /// means.
  std::string text(const slice::EngineStatistics& engine, const std::string& model) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> answers_;
  Histogram first_token_{{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5,
                          5, 7.5, 10, 20, 40, 80}};
  Histogram token_{{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                    0.75, 1, 2.5}};
  Histogram request_{{0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,
                      10,   15,   20,  30,  40,  50,  60, 120, 240, 480}};
};

}  // namespace serve
