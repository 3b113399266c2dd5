#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "libslice/decode/batch.h"
#include "libslice/decode/detail/engine_model.h"
#include "libslice/decode/detail/engine_text.h"
#include "libslice/decode/detail/live_statistics.h"
#include "libslice/decode/detail/request_state.h"
#include "libslice/decode/engine.h"

namespace slice::detail {

/// The requests of one model of an engine, in a Batch of its own. check, name, closed and
/// statistics are for any thread, the other members for the engine's. What goes wrong in a turn ends
/// requests.
class ModelRunner {
 public:
  ModelRunner(const EngineModel& model, const EngineOptions& options);

  /// Checks a request. Throws as Engine::submit.
  void check(const Request& request) const { check_request(model_, request); }
  const std::string& name() const { return model_.name; }
  /// Why it takes no requests any more, after too many failures; empty while it does.
  std::string closed() const;
  LiveStatistics statistics;

  /// Whether it has a slot for a further request.
  bool wants() const { return batch_.slots() - batch_.running() > std::ssize(starting_); }
  bool busy() const { return !texts_.empty() || !starting_.empty(); }
  /// Takes a request; where there is no memory for that, it ends.
  void accept(const std::shared_ptr<RequestState>& state);
  /// Starts texts, feeds a piece of their prompts, gives each that has its prompt some tokens.
  void turn();
  /// Ends a request and all its texts.
  void end_request(const std::shared_ptr<ActiveRequest>& request, Finish finish,
                   const std::string& error = {});
  /// Ends one that was not accepted.
  void refuse(const std::shared_ptr<RequestState>& state, Finish finish,
              const std::string& error = {});
  void end_all(Finish finish, const std::string& error = {});
  /// Runs every number of slots once, unless texts run. Throws what a Batch throws.
  void warm_up();

 private:
  struct Start {
    std::shared_ptr<ActiveRequest> request;
    int64_t index;  // of the text
  };

  std::shared_ptr<ActiveRequest> activated(std::shared_ptr<RequestState> state) const;
  void end_dead();
  void start(const Start& text);
  void feed_prompts();
  int64_t feed_together(int64_t most);
  int64_t count_fed(int64_t before, double seconds);
  void feed(EngineText& text, int64_t most);
  void has_prompt(EngineText& text);
  void step();
  bool show_logits();
  void deliver(EngineText& text, TextPiece piece);
  void hand_over(const std::shared_ptr<ActiveRequest>& request, TextPiece piece);
  void leave_batch(EngineText& text);
  void count_end(ActiveRequest& request, Finish finish);
  void failed(const std::string& error);
  void publish();

  EngineModel model_;
  const Tokenizer* tokenizer_;  // nullptr: none
  int64_t prompt_chunk_, step_tokens_;
  std::function<void(const std::string&)> log_;
  Batch batch_;
  std::deque<Start> starting_;                    // texts of accepted requests, without a slot
  std::list<std::unique_ptr<EngineText>> texts_;  // in the order they began
  int64_t failures_ = 0;                          // in a row
  mutable std::mutex closed_mutex_;
  std::string closed_;
};

}  // namespace slice::detail
