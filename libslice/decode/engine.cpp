#include "libslice/decode/engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/thread.h"
#include "libslice/decode/detail/current_message.h"
#include "libslice/decode/detail/insist.h"
#include "libslice/decode/detail/model_runner.h"
#include "libslice/decode/detail/request_queue.h"
#include "libslice/decode/detail/request_state.h"
#include "libslice/decode/divided_model.h"
#include "libslice/decode/user_decoder.h"

namespace slice {

namespace {

void check_options(const EngineOptions& options) {
  SLICE_ARGUMENT_CHECK(!options.models.empty(), "engine: no model");
  std::set<std::string> names;
  for (const EngineModel& model : options.models) {
    SLICE_ARGUMENT_CHECK(names.insert(model.name).second, "engine: two models named {}",
                         model.name);
    const int given =
        (model.model != nullptr) + (model.divided != nullptr) + (model.decoder != nullptr);
    SLICE_ARGUMENT_CHECK(given == 1, "engine: {}: want a model or a decoder of your own",
                         model.name);
    SLICE_ARGUMENT_CHECK(
        !model.divided || !model.divided->spans_processes(),
        "engine: {}: other processes have parts of it, but not this one's requests", model.name);
    SLICE_ARGUMENT_CHECK(model.slots > 0 && model.capacity > 0,
                         "engine: {}: want slots and capacity of at least 1, got {} and {}",
                         model.name, model.slots, model.capacity);
  }
  SLICE_ARGUMENT_CHECK(options.queue > 0, "engine: queue {}: want at least 1", options.queue);
  SLICE_ARGUMENT_CHECK(options.prompt_chunk > 0, "engine: prompt_chunk {}: want at least 1",
                       options.prompt_chunk);
  SLICE_ARGUMENT_CHECK(options.prefix_bytes >= 0, "engine: prefix_bytes {}: want at least 0",
                       options.prefix_bytes);
  SLICE_ARGUMENT_CHECK(options.step_tokens >= 0, "engine: step_tokens {}: want at least 0",
                       options.step_tokens);
  SLICE_ARGUMENT_CHECK(options.threads >= 0, "engine: threads {}: want at least 0",
                       options.threads);
}

}  // namespace

struct Engine::State {
  explicit State(EngineOptions given) : options(std::move(given)), queues(options.models.size()) {
    for (const EngineModel& model : options.models)
      runners.push_back(std::make_unique<detail::ModelRunner>(model, options));
    thread = detail::start_thread([this] { run(); });
  }

  size_t number(const std::string& model) const;
  int64_t waiting() const;  // locked
  bool has_work() const;    // locked
  void run();
  bool receives();
  bool receive();
  void say(const std::string& words) const;
  void turn();

  const EngineOptions options;
  std::vector<std::unique_ptr<detail::ModelRunner>> runners;
  mutable std::mutex mutex;  // of all below but the thread
  std::condition_variable wake, idle;
  std::vector<detail::RequestQueue> queues;  // of each runner
  std::vector<std::packaged_task<void()>> commands;
  bool closed = false, stopping = false;
  bool active = false;  // the thread has something that is in no queue
  std::mutex join;
  std::thread thread;
};

size_t Engine::State::number(const std::string& model) const {
  for (size_t i = 0; i < runners.size(); ++i)
    if (model.empty() || runners[i]->name() == model) return i;
  throw UnknownModel(detail::formatted("no model is named {}", model));
}

int64_t Engine::State::waiting() const {
  int64_t count = 0;
  for (const auto& queue : queues) count += queue.size();
  return count;
}

bool Engine::State::has_work() const {
  return waiting() > 0 || !commands.empty() ||
         std::any_of(runners.begin(), runners.end(), [](const auto& r) { return r->busy(); });
}

void Engine::State::run() {
  const at::NoGradGuard no_grad;
  if (options.threads > 0) at::set_num_threads(options.threads);
  while (receives()) turn();
  for (const auto& runner : runners) detail::insist([&] { runner->end_all(Finish::kCancelled); });
  const std::scoped_lock lock(mutex);
  active = false;
  idle.notify_all();
}

/// receive(), until there is memory for it.
bool Engine::State::receives() {
  for (;;) {
    try {
      return receive();
    } catch (const std::exception& error) {
      say(error.what());
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      const std::scoped_lock lock(mutex);
      if (stopping) return false;
    }
  }
}

void Engine::State::say(const std::string& words) const {
  try {
    if (options.log) options.log(words);
  } catch (...) {  // no memory for what it says
  }
}

/// Waits for work and gives it to the runners. What throws leaves every request where it was.
/// @return  false where the thread is to end
bool Engine::State::receive() {
  std::vector<std::packaged_task<void()>> received;
  std::vector<std::pair<size_t, std::shared_ptr<detail::RequestState>>> dead;
  bool ends;
  {
    std::unique_lock lock(mutex);
    active = false;
    if (!has_work()) idle.notify_all();
    wake.wait(lock, [&] { return stopping || has_work(); });
    active = true;
    ends = stopping;
    dead.reserve(static_cast<size_t>(waiting()));
    received.swap(commands);
    for (size_t i = 0; i < queues.size(); ++i) {
      for (auto& state : queues[i].take_dead()) dead.emplace_back(i, std::move(state));
      const bool none = ends || !runners[i]->closed().empty();
      while (!queues[i].empty() && (none || runners[i]->wants())) {
        if (none) {
          dead.emplace_back(i, queues[i].pop());
        } else {
          runners[i]->accept(queues[i].pop());
        }
      }
    }
  }
  const auto now = detail::RequestState::Clock::now();
  for (auto& [i, state] : dead) {
    const bool expired = !state->cancelled() && state->expired(now);
    const std::string error = ends ? std::string() : runners[i]->closed();
    const bool fails = !expired && !state->cancelled() && !error.empty();
    runners[i]->refuse(state,
                       expired ? Finish::kDeadline
                       : fails ? Finish::kError
                               : Finish::kCancelled,
                       fails ? error : std::string());
  }
  if (!ends)
    for (auto& command : received) command();
  return !ends;
}

void Engine::State::turn() {
  for (const auto& runner : runners) {
    if (!runner->busy()) continue;
    try {
      runner->turn();
    } catch (...) {  // no memory for what a turn needs
      const std::string error = detail::current_message();
      say(runner->name() + ": " + error);
      detail::insist([&] { runner->end_all(Finish::kError, error); });
    }
  }
}

Engine::Engine(EngineOptions options) {
  check_options(options);
  state_ = std::make_unique<State>(std::move(options));
}

Engine::~Engine() { stop(); }

RequestHandle Engine::submit(Request request) {
  const size_t number = state_->number(request.model);
  detail::ModelRunner& runner = *state_->runners[number];
  runner.check(request);
  auto state = std::make_shared<detail::RequestState>(std::move(request));
  {
    const std::scoped_lock lock(state_->mutex);
    SLICE_CHECK_AS(EngineClosed, !state_->closed, "the engine takes no further requests");
    const std::string closed = runner.closed();
    SLICE_CHECK_AS(EngineClosed, closed.empty(), "{} is closed: {}", runner.name(), closed);
    if (state_->waiting() >= state_->options.queue) {
      runner.statistics.change([](auto& s) { ++s.refused; });
      throw QueueFull(detail::formatted("{} requests wait already", state_->options.queue));
    }
    runner.statistics.change([](auto& s) { ++s.submitted; });
    state_->queues[number].push(state);
  }
  state_->wake.notify_all();
  return RequestHandle(std::move(state));
}

void Engine::warm_up() {
  std::packaged_task<void()> task([this] {
    for (const auto& runner : state_->runners) runner->warm_up();
  });
  auto done = task.get_future();
  {
    const std::scoped_lock lock(state_->mutex);
    SLICE_CHECK_AS(EngineClosed, !state_->closed, "the engine takes no further requests");
    state_->commands.push_back(std::move(task));
  }
  state_->wake.notify_all();
  try {
    done.get();
  } catch (const std::future_error&) {
    throw EngineClosed("the engine was stopped");
  }
}

void Engine::close() {
  const std::scoped_lock lock(state_->mutex);
  state_->closed = true;
}

bool Engine::drain(std::chrono::milliseconds timeout) {
  close();
  std::unique_lock lock(state_->mutex);
  return state_->idle.wait_for(lock, timeout,
                               [&] { return !state_->active && state_->waiting() == 0; });
}

void Engine::stop() {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->closed = state_->stopping = true;
  }
  state_->wake.notify_all();
  const std::scoped_lock lock(state_->join);
  if (state_->thread.joinable()) state_->thread.join();
}

std::vector<std::string> Engine::models() const {
  std::vector<std::string> names;
  for (const auto& runner : state_->runners) names.push_back(runner->name());
  return names;
}

EngineStatistics Engine::statistics(const std::string& model) const {
  EngineStatistics all;
  const size_t only = model.empty() ? state_->runners.size() : state_->number(model);
  for (size_t i = 0; i < state_->runners.size(); ++i) {
    if (!model.empty() && i != only) continue;
    all += state_->runners[i]->statistics.read();
    const std::scoped_lock lock(state_->mutex);
    all.waiting += state_->queues[i].size();
  }
  return all;
}

}  // namespace slice
