#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libslice/checkpoint/model.h"
#include "libslice/decode/engine_statistics.h"
#include "libslice/decode/request.h"
#include "libslice/decode/request_handle.h"

namespace slice {

class DividedModel;
struct UserDecoder;

struct EngineModel {
  std::string name;
  std::shared_ptr<const Model> model = {};
  /// In place of a model: one divided among GPUs, which keeps no prefixes.
  std::shared_ptr<const DividedModel> divided = {};
  /// In place of a model: a user-defined one.
  std::shared_ptr<const UserDecoder> decoder = {};
  /// Absent: the model's own, or none where it has none: pieces then have ids and no text.
  std::shared_ptr<const Tokenizer> tokenizer = {};
  int64_t slots = 8;        ///< texts that run at the same time
  int64_t capacity = 2048;  ///< tokens of each, prompt included
};

struct EngineOptions {
  std::vector<EngineModel> models;
  int64_t queue = 256;  ///< requests that may wait, of all models together
  /// Tokens of prompts that are fed between two steps of the running texts. A prompt in one piece
  /// has the bits that generate() gives it; in several its sums may differ in roundings. Models
  /// whose rotary angles depend on the length of the text (longrope, dynamic) get theirs whole.
  int64_t prompt_chunk = 512;
  /// Device memory for keys and values of texts that ended, of each model; 0: none is kept. A
  /// prompt that begins as one of them, or as a running one, has that part copied; its sums may
  /// then differ in roundings, as those of pieces.
  int64_t prefix_bytes = 0;
  /// Tokens of a step; 0: 1 on the CPU, 4 on a GPU. Texts with rules, a constraint or logprobs make
  /// a step one token long.
  int64_t step_tokens = 0;
  int threads = 0;  ///< of the engine's computations on the CPU; 0: LibTorch's number
  /// Hears one line at a time of what happens to the engine, on its thread or a caller's. Must not
  /// throw or wait for the engine.
  std::function<void(const std::string&)> log = {};
};

/// Device bytes that an engine takes, before it is made.
struct EngineBytes {
  int64_t weights = 0;   ///< of the models, which are there already; of users' what adapters name;
                         ///< of divided ones, here as below, the first GPU's
  int64_t cache = 0;     ///< keys and values of all slots
  int64_t prefixes = 0;  ///< EngineOptions::prefix_bytes of all models
  /// Activations of one piece of a prompt, but for users' modules; logits; on a GPU CUDA's own.
  int64_t work = 0;
  int64_t total() const { return weights + cache + prefixes + work; }
};
EngineBytes engine_bytes(const EngineOptions& options);

/// Texts for many callers at a time, from one thread of its own that drives a Batch a model. All
/// members may be called by any thread; hooks, which are on the engine's, may call submit, close
/// and statistics.
///
/// The text of a request is that of generate() with the same options and seed, whatever runs beside
/// it, as Batch says: on the CPU to the bit, but for EngineOptions::prompt_chunk and prefix_bytes.
/// Exceptions stay within the request that they come from: its texts end with Finish::kError. A
/// step that fails ends the texts that ran, and the engine continues with the next ones; after 8
/// failures in a row of a model, with nothing that worked in between, the model is closed.
///
/// While an engine runs a model on a GPU nobody else may run or change it the first time (the
/// weights are laid out anew, in place, by the constructor).
class Engine {
 public:
  /// Takes all memory but that of prefixes, and begins.
  /// @throws ArgumentError  no model, two of one name, none behind a name; sizes below 1
  ///                        (prefix_bytes, step_tokens, threads: below 0)
  explicit Engine(EngineOptions options);
  /// As stop().
  ~Engine();
  Engine(const Engine&) = delete;

  /// Puts a request into the queue.
  /// @throws UnknownModel   no model of this name
  /// @throws ArgumentError  an empty prompt, ids outside the vocabulary, no room for a token after
  ///                        it; max_tokens < 0; bad sampling, rules or stop strings; texts outside
  ///                        [1, 128]; logprobs outside [0, 100]
  /// @throws QueueFull, EngineClosed
  RequestHandle submit(Request request);

  /// Captures and runs what first requests would wait for (a GPU's graphs of every number of
  /// slots), while nothing runs: call it before the first request.
  void warm_up();
  /// No further request is taken; those that are there go on.
  void close();
  /// close(), and waits for what is there. @return  false where the time was up before
  bool drain(std::chrono::milliseconds timeout = RequestHandle::kForever);
  /// close(), ends all texts with Finish::kCancelled, and waits for the thread to end.
  void stop();

  std::vector<std::string> models() const;  ///< names, in the order of the options
  /// @param model  a name; empty: sums over all    @throws UnknownModel
  EngineStatistics statistics(const std::string& model = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace slice
