#include "libslice/slice_c.h"

#include <catch2/catch_all.hpp>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "libslice/slice.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"

namespace slice {
namespace {

using Engines = std::unique_ptr<slice_engine, decltype(&slice_engine_free)>;
using Requests = std::unique_ptr<slice_request, decltype(&slice_request_free)>;

const std::string kModel = (tests::data_directory() / "trained_phi").string();

Engines load(int64_t slots = 2) {
  slice_engine_options options;
  slice_engine_options_init(&options);
  options.model = kModel.c_str();
  options.device = "cpu";
  options.slots = slots;
  options.capacity = 128;
  options.queue = 2;
  return {slice_engine_load(&options), slice_engine_free};
}

/// The text must outlive the options, which point to it.
slice_request_options wanted(std::string_view text) {
  slice_request_options options;
  slice_request_options_init(&options);
  options.text = text.data();
  options.text_size = text.size();
  options.max_tokens = 20;
  options.ignore_end_tokens = 1;
  return options;
}

Requests submit(const Engines& engine, const slice_request_options& options) {
  return {slice_submit(engine.get(), &options), slice_request_free};
}

struct Whole {
  std::string text;
  std::vector<int64_t> ids;
  std::vector<double> logprobs;
  slice_finish finish = SLICE_CONTINUES;
  std::string stop_string;
};

Whole read(slice_request* request) {
  Whole whole;
  slice_piece piece;
  int status;
  while ((status = slice_poll(request, -1, &piece)) == SLICE_OK) {
    CHECK(std::strlen(piece.text) == piece.text_size);
    whole.text += piece.text;
    whole.ids.insert(whole.ids.end(), piece.ids, piece.ids + piece.id_count);
    if (piece.logprobs)
      whole.logprobs.insert(whole.logprobs.end(), piece.logprobs, piece.logprobs + piece.id_count);
    whole.finish = piece.finish;
    whole.stop_string = piece.stop_string;
  }
  CHECK(status == SLICE_OVER);
  return whole;
}

}  // namespace

TEST_CASE("the C interface gives the text of generate") {
  const Engines engine = load();
  INFO(slice_last_error());
  REQUIRE(engine);
  const Model model = load_model(kModel);
  const std::string prompt = "The house";
  const std::vector<int64_t> ids = model.tokenizer().encode(prompt, /*special=*/true);
  std::vector<int64_t> got(ids.size() + 1);
  CHECK(slice_tokenize(engine.get(), prompt.data(), prompt.size(), nullptr, 0) == std::ssize(ids));
  CHECK(slice_tokenize(engine.get(), prompt.data(), prompt.size(), got.data(), 1) ==
        std::ssize(ids));
  CHECK(got[0] == ids[0]);
  for (const double temperature : {0.0, 0.9}) {
    slice_request_options options = wanted(prompt);
    options.temperature = temperature;
    options.seed = 4;
    options.logprobs = 0;
    const Requests request = submit(engine, options);
    REQUIRE(request);
    const Whole whole = read(request.get());
    CHECK(whole.ids ==
          generate(model, ids,
                   {.max_tokens = 20, .sampling = {.temperature = temperature}, .seed = 4}));
    CHECK(whole.finish == SLICE_FINISH_LENGTH);
    CHECK(whole.logprobs.size() == 20);
    slice_usage usage;
    CHECK(slice_request_usage(request.get(), &usage) == SLICE_OK);
    CHECK(usage.prompt_tokens == std::ssize(ids));
    CHECK(usage.completion_tokens == 20);
    // From ids, and to a stop string.
    options.text = nullptr;
    options.ids = ids.data();
    options.id_count = ids.size();
    const std::string stop = whole.text.substr(5, 3);
    const char* stops[] = {stop.c_str()};
    options.stop_strings = stops;
    options.stop_string_count = 1;
    const Requests stopped = submit(engine, options);
    const Whole before = read(stopped.get());
    CHECK(before.text == whole.text.substr(0, whole.text.find(stop)));
    CHECK(before.finish == SLICE_FINISH_STOP);
    CHECK(before.stop_string == stop);
  }
}

TEST_CASE("failures of the C interface are statuses and messages of their thread") {
  CHECK(std::string(slice_library_version()) == version());
  slice_engine_options bad;
  slice_engine_options_init(&bad);
  CHECK(slice_engine_load(&bad) == nullptr);
  CHECK(slice_last_status() == SLICE_BAD_ARGUMENT);
  bad.model = "/no/such/model";
  CHECK(slice_engine_load(&bad) == nullptr);
  CHECK(slice_last_status() == SLICE_BAD_FILE);
  CHECK_THAT(slice_last_error(), Catch::Matchers::ContainsSubstring("/no/such/model"));
  std::thread([] { CHECK(std::string(slice_last_error()).empty()); }).join();
  CHECK(slice_engine_load(nullptr) == nullptr);
  CHECK(slice_submit(nullptr, nullptr) == nullptr);
  CHECK(slice_poll(nullptr, 0, nullptr) == SLICE_BAD_ARGUMENT);
  slice_request_free(nullptr);
  slice_engine_free(nullptr);
  slice_cancel(nullptr);

  const Engines engine = load();
  REQUIRE(engine);
  slice_request_options options = wanted("The");
  options.size = 0;
  CHECK_FALSE(submit(engine, options));
  options = wanted("The");
  options.top_p = 7;
  CHECK_FALSE(submit(engine, options));
  CHECK(slice_last_status() == SLICE_BAD_ARGUMENT);
  CHECK_THAT(slice_last_error(), Catch::Matchers::ContainsSubstring("top-p"));
  options = wanted("The");
  options.ids = &options.max_tokens;
  CHECK_FALSE(submit(engine, options));
  options = wanted("The");
  CHECK(submit(engine, options));
  CHECK(std::string(slice_last_error()).empty());
  const slice_message message = {"user", "Hello"};
  options.text = nullptr;
  options.messages = &message;
  options.message_count = 1;
  CHECK_FALSE(submit(engine, options));  // no template
  CHECK(slice_last_status() == SLICE_BAD_FILE);
}

TEST_CASE("a request of the C interface is cancelled, times out and outlives its engine") {
  Engines engine = load(1);
  REQUIRE(engine);
  slice_request_options options = wanted("The house");
  options.max_tokens = 100;
  const Requests cancelled = submit(engine, options);
  slice_piece piece;
  CHECK(slice_poll(cancelled.get(), -1, &piece) == SLICE_OK);
  slice_cancel(cancelled.get());
  CHECK(read(cancelled.get()).finish == SLICE_FINISH_CANCELLED);
  options.timeout_ms = 0;
  const Requests late = submit(engine, options);
  CHECK(read(late.get()).finish == SLICE_FINISH_DEADLINE);
  options.timeout_ms = -1;
  const Requests left = submit(engine, options);
  CHECK(slice_engine_drain(engine.get(), 0) == SLICE_NOTHING_YET);
  CHECK(submit(engine, options) == nullptr);
  CHECK(slice_last_status() == SLICE_CLOSED);
  engine.reset();
  CHECK(read(left.get()).finish == SLICE_FINISH_CANCELLED);
  CHECK(slice_poll(left.get(), 0, &piece) == SLICE_OVER);
}

}  // namespace slice
