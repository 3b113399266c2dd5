// Slicing layer by layer is killed at random moments, or runs out of disk or of memory, and goes
// on: the files are those of a run that nothing happened to, and nothing else is harmed.

#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_all.hpp>
#include <chrono>
#include <cstdio>
#include <random>
#include <set>
#include <thread>

#include "libslice/base/partial_directory.h"
#include "libslice/checkpoint/model.h"
#include "libslice/slicing/slice_checkpoint.h"
#include "libslice/text/bpe.h"
#include "tests/support/child_process.h"
#include "tests/support/directory_contents.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_vocabulary.h"

namespace fs = std::filesystem;

namespace slice::tests {
namespace {

using Files = std::map<std::string, std::string>;
using Clock = std::chrono::steady_clock;

/// What --force replaces: a model's directory, with a file that tells it from a new one.
const Files kOld = {{"config.json", "{\"model_type\": \"llama\"}"}, {"old", "model"}};

void make_old(const fs::path& directory) {
  fs::create_directory(directory);
  for (const auto& [name, bytes] : kOld) detail::write_file(directory / name, bytes);
}

/// Layers enough for a kill to come between any two of them.
ModelConfig deep_config() {
  ModelConfig config = tiny_config();
  config.layers = 24;
  return config;
}

struct Job {
  fs::path source, target;
  at::Tensor tokens;
  SliceOptions options = {};
  int64_t save_every = 0;
  bool replace = false;
};

/// What slice_model --layerwise --resume does, without its second of start.
int slice(const Job& job) {
  try {
    const auto checkpoint = open_checkpoint(job.source);
    PartialDirectory output(job.target, {.replace = job.replace, .resume = true});
    slice_checkpoint(
        *checkpoint, job.tokens, job.options, output.path(),
        {.shard_bytes = 20000, .journal = output.journal(), .save_every = job.save_every}, nullptr);
    output.commit();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

/// The same in a process of its own.
class Fork {
 public:
  explicit Fork(const Job& job) : process_(fork()) {
    if (process_ < 0) throw std::runtime_error("cannot fork");
    if (process_ == 0) _exit(slice(job));
  }
  void kill_at_once() const { kill(process_, SIGKILL); }
  /// @return  exit code, or minus the signal that ended it
  int wait() const {
    int status = 0;
    waitpid(process_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t process_;
};

/// Files of a sliced model that say nothing of times.
Files weights_in(const fs::path& directory) {
  Files files = contents(directory);
  files.erase("slice_report.json");
  files.erase("slice_report.html");
  return files;
}

/// Kills a run at so many random moments, resuming it every time; begins anew where it was done.
void kill_and_resume(const SliceOptions& options, int most_kills) {
  at::set_num_threads(1);  // a fork takes no threads along
  const TemporaryDirectory scratch;
  const ModelConfig config = deep_config();
  save_model(random_model(config, 3, at::kFloat), scratch.path() / "dense");
  const Files source = contents(scratch.path() / "dense");
  Job job{.source = scratch.path() / "dense",
          .target = scratch.path() / "whole",
          .tokens = random_tokens(config, 8, 64),
          .options = options};
  const auto begin = Clock::now();
  REQUIRE(Fork(job).wait() == 0);
  const std::chrono::duration<double> whole = Clock::now() - begin;
  const Files want = contents(job.target);
  job.target = scratch.path() / "out";

  const unsigned seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  int kills = 0, rounds = 0, in_a_round = 0;
  while (kills < most_kills || in_a_round > 0) {
    // Signals saved often, seldom and as they cost; every other round in place of an old model.
    job.save_every = std::array<int64_t, 3>{1, 5, 0}[rounds % 3];
    job.replace = rounds % 2 == 1;
    if (in_a_round == 0 && job.replace) make_old(job.target);
    const Fork run(job);
    if (kills < most_kills) {
      const double most = in_a_round < 12 ? 0.5 : 1.5;  // of a whole run: some end unharmed
      std::this_thread::sleep_for(whole * std::uniform_real_distribution(0.0, most)(random));
      run.kill_at_once();
    }
    const int code = run.wait();
    REQUIRE((code == 0 || code == -SIGKILL));
    if (code == -SIGKILL) {
      ++kills;
      ++in_a_round;
    }
    if (code == 0 || (fs::exists(job.target) && !fs::exists(job.target / "old"))) {
      const Files got = contents(job.target);  // whole, whatever was killed after its renaming
      REQUIRE(got.size() == want.size());
      for (const auto& [name, bytes] : want) {
        CAPTURE(name, rounds, in_a_round);
        REQUIRE(got.contains(name));
        REQUIRE(got.at(name) == bytes);
      }
      fs::remove_all(job.target);
      ++rounds;
      in_a_round = 0;
    } else if (fs::exists(job.target)) {
      CHECK(contents(job.target) == kOld);
    }
  }
  CHECK(rounds >= 1 + most_kills / 20);
  CHECK(contents(job.source) == source);
  CAPTURE(rounds, whole.count());
}

TEST_CASE("killed at fifty random moments and gone on with, slicing writes the same files") {
  kill_and_resume({.method = Method::kSliceGpt, .slice = 0.3}, 50);
}

TEST_CASE("killed at twenty random moments and gone on with, a refit writes the same files") {
  SliceOptions options{.slice = 0.3, .head = HeadMode::kSlice};
  options.ffn_sizes.assign(deep_config().layers, deep_config().ffn_size - 3);
  kill_and_resume(options, 20);
}

/// A model with a tokenizer and a text, on which the program works.
class Bench {
 public:
  explicit Bench(std::string method = "slicegpt") : method_(std::move(method)) {
    const auto tokenizer = make_bpe_tokenizer(tiny_definition());
    ModelConfig config = deep_config();
    config.vocabulary_size = tokenizer->vocabulary_size();
    const Model bare = random_model(config, 1, at::kFloat);
    const Model model(std::shared_ptr<DecoderImpl>(&bare.decoder(), [](DecoderImpl*) {}), tokenizer,
                      at::kFloat);
    save_model(model, file("model"));
    std::string text;
    for (int i = 0; i < 4000; ++i) text += "hello world " + std::to_string(i) + "\n";
    scratch_.write("text.txt", text);
  }

  fs::path file(const std::string& name) const { return scratch_.path() / name; }
  Child start(const std::string& out, const std::vector<std::string>& more,
              uint64_t file_bytes = 0) const {
    std::vector<std::string> arguments = {"slice_model",
                                          file("model"),
                                          "--calibration",
                                          file("text.txt"),
                                          "--out",
                                          file(out),
                                          "--layerwise",
                                          "--method",
                                          method_,
                                          "--slice",
                                          "0.3",
                                          "--context",
                                          "64",
                                          "--samples",
                                          "64",
                                          "--device",
                                          "cpu",
                                          "--threads",
                                          "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Child(scratch_.path(), arguments, file_bytes);
  }
  std::set<std::string> listing() const {
    std::set<std::string> names = names_in(scratch_.path());
    names.erase("stdout");
    names.erase("stderr");
    return names;
  }

 private:
  std::string method_;
  TemporaryDirectory scratch_;
};

void check_same(const Files& got, const Files& want) {
  REQUIRE(got.size() == want.size());
  for (const auto& [name, bytes] : want) {
    CAPTURE(name);
    REQUIRE(got.contains(name));
    CHECK(got.at(name) == bytes);
  }
}

/// Lets a run that saves no signals come so far.
void wait_for_layer(const Bench& bench, int layer) {
  const fs::path journal = bench.file(".out.partial") / "journal";
  const fs::path record = journal / fmt::format("layer-{:05}.safetensors", layer);
  const auto end = Clock::now() + std::chrono::seconds(30);
  while (!fs::exists(record)) {
    REQUIRE(Clock::now() < end);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_CASE(
    "slice_model --layerwise that was killed or interrupted is refused, resumed, or begun anew") {
  const Bench bench;
  const auto before = bench.listing();
  REQUIRE(bench.start("whole", {"--quiet"}).wait().code == 0);
  const Files want = weights_in(bench.file("whole"));
  const std::vector<std::string> rarely = {"--save-every", "1000"};

  const Child killed = bench.start("out", rarely);
  wait_for_layer(bench, 5);
  killed.kill_at_once();
  REQUIRE(killed.wait().code == -SIGKILL);
  CHECK_FALSE(fs::exists(bench.file("out")));
  const Outcome refused = bench.start("out", {}).wait();
  CHECK(refused.code == 1);
  CHECK(refused.err.find("holds an unfinished run") != std::string::npos);
  const Outcome other = bench.start("out", {"--resume", "--head", "slice"}).wait();
  CHECK(other.code == 1);
  CHECK(other.err.find("another plan") != std::string::npos);

  const Child interrupted = bench.start("out", {"--resume", "--save-every", "1000"});
  wait_for_layer(bench, 10);
  interrupted.interrupt();
  const Outcome stopped = interrupted.wait();
  INFO(stopped.err);
  CHECK(stopped.code == 130);
  CHECK(stopped.err.find("interrupted: the same command with --resume resumes it") !=
        std::string::npos);
  CHECK(stopped.err.find("resuming: ") != std::string::npos);

  const Outcome resumed = bench.start("out", {"--resume", "--json"}).wait();
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(resumed.out.find("\"layers_found\": 1") != std::string::npos);  // of 10 to 19 at least
  check_same(weights_in(bench.file("out")), want);
  fs::remove_all(bench.file("out"));

  const Child again = bench.start("out", rarely);
  wait_for_layer(bench, 3);
  again.kill_at_once();
  again.wait();
  REQUIRE(bench.start("out", {"--force"}).wait().code == 0);
  check_same(weights_in(bench.file("out")), want);
  fs::remove_all(bench.file("out"));
  fs::remove_all(bench.file("whole"));
  CHECK(bench.listing() == before);
}

TEST_CASE("a refit of slice_model --layerwise that was killed is resumed, with its gradients") {
  const Bench bench("refit");
  REQUIRE(bench.start("whole", {"--quiet"}).wait().code == 0);
  const Files want = weights_in(bench.file("whole"));
  const Child killed = bench.start("out", {"--save-every", "1"});
  const auto end = Clock::now() + std::chrono::seconds(60);
  while (!fs::exists(bench.file(".out.partial") / "journal" / "signal-00003.safetensors")) {
    REQUIRE(Clock::now() < end);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  killed.kill_at_once();
  REQUIRE(killed.wait().code == -SIGKILL);
  const Outcome other = bench.start("out", {"--resume", "--seed", "7"}).wait();
  CHECK(other.code == 1);
  CHECK(other.err.find("another choice of gradients") != std::string::npos);
  const Outcome resumed = bench.start("out", {"--resume"}).wait();
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(resumed.err.find("resuming: the gradient covariances are on the disk") !=
        std::string::npos);
  CHECK(resumed.err.find("layers are on the disk, the signal before ") != std::string::npos);
  check_same(weights_in(bench.file("out")), want);
}

TEST_CASE("slice_model --layerwise that runs out of disk says so, harms nothing and is resumed") {
  const Bench bench;
  REQUIRE(bench.start("whole", {"--quiet"}).wait().code == 0);
  const Files want = weights_in(bench.file("whole"));
  make_old(bench.file("out"));
  const uint64_t size = fs::file_size(bench.file("whole") / "model.safetensors");
  for (const uint64_t bytes : {size / 5, size / 2, size - 1}) {
    CAPTURE(bytes);
    const Outcome full =
        bench.start("out", {"--force", "--resume", "--save-every", "3"}, bytes).wait();
    INFO(full.err);
    CHECK(full.code == 1);
    CHECK(full.err.find("model.safetensors: cannot write: File too large") != std::string::npos);
    CHECK(full.err.find("--resume resumes it") != std::string::npos);
    CHECK(contents(bench.file("out")) == kOld);
  }
  REQUIRE(bench.start("out", {"--force", "--resume"}).wait().code == 0);
  check_same(weights_in(bench.file("out")), want);
  CHECK_FALSE(fs::exists(bench.file(".out.partial")));
}

TEST_CASE("slice_model --layerwise that runs out of memory says so, harms nothing and is resumed") {
#ifdef __SANITIZE_ADDRESS__
  SKIP("the sanitizer ends a process that gets no memory");
#endif
  const Bench bench;
  REQUIRE(bench.start("whole", {"--quiet"}).wait().code == 0);
  const Files want = weights_in(bench.file("whole"));
  int failures = 0;
  for (const uint64_t left : {0, 1 << 12, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24}) {
    for (const bool all : {false, true}) {
      CAPTURE(left, all);
      fs::remove_all(bench.file(".out.partial"));
      const Child starved = bench.start("out", {"--save-every", "1000"});
      wait_for_layer(bench, 1 + failures % 5);
      starved.starve(left, all);
      const Outcome outcome = starved.wait();
      INFO(outcome.err);
      REQUIRE((outcome.code == 0 || outcome.code == 1));
      if (outcome.code == 0) {  // it had what it needed
        check_same(weights_in(bench.file("out")), want);
        fs::remove_all(bench.file("out"));
        continue;
      }
      ++failures;
      CHECK(outcome.err.find("memory") != std::string::npos);
      CHECK(outcome.err.find("--resume resumes it") != std::string::npos);
      CHECK_FALSE(fs::exists(bench.file("out")));
    }
  }
  CHECK(failures > 0);
  if (!fs::exists(bench.file("out"))) REQUIRE(bench.start("out", {"--resume"}).wait().code == 0);
  check_same(weights_in(bench.file("out")), want);
  CHECK_FALSE(fs::exists(bench.file(".out.partial")));
}

TEST_CASE("a program that still reads its files is ended by one signal, and leaves nothing") {
  const Bench bench;
  std::string text;
  while (text.size() < (size_t{64} << 20))
    text += "hello world hello world " + text.substr(0, 1 << 20);
  detail::write_file(bench.file("long.txt"), text);  // takes many seconds to tokenise
  const auto before = bench.listing();
  for (const bool layerwise : {false, true}) {
    for (const int signal : {SIGINT, SIGTERM}) {
      CAPTURE(layerwise, signal);
      std::vector<std::string> arguments = {"slice_model",   bench.file("model"),
                                            "--calibration", bench.file("long.txt"),
                                            "--out",         bench.file("out"),
                                            "--slice",       "0.3",
                                            "--device",      "cpu",
                                            "--method",      "slicegpt"};
      if (layerwise) arguments.push_back("--layerwise");
      const Child child(bench.file("."), arguments);
      const auto end = Clock::now() + std::chrono::seconds(30);
      while (!child.catches(signal)) {
        REQUIRE(Clock::now() < end);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(300));  // into the reading
      child.send(signal);
      const Outcome outcome = child.wait();
      CHECK(outcome.code == 130);
      CHECK(outcome.err.ends_with("slice_model: interrupted, nothing was written\n"));
      CHECK(bench.listing() == before);
    }
  }
}

TEST_CASE("a model whose file is cut while it is read ends the run with an error, not a signal") {
  const Bench bench;
  const Child child = bench.start("out", {"--save-every", "1000"});
  wait_for_layer(bench, 2);
  fs::resize_file(bench.file("model") / "model.safetensors", 100);
  const Outcome outcome = child.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 1);
  CHECK(outcome.err.find("model.safetensors: became shorter while it was read (the same command "
                         "with --resume resumes it)") != std::string::npos);
  CHECK_FALSE(fs::exists(bench.file("out")));
}

}  // namespace
}  // namespace slice::tests
