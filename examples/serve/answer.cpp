#include "examples/serve/answer.h"

#include <chrono>
#include <cstdio>
#include <random>
#include <utility>

#include "examples/serve/connection.h"
#include "examples/serve/job.h"

namespace serve {
namespace {

constexpr std::chrono::milliseconds kLook(200);  // for clients that are gone

/// A client that does not wait for its answer any more.
class ClientGone final : public ApiError {
 public:
  ClientGone() : ApiError(499, "the client closed the connection") {}
};

std::string random_id(const std::string& prefix) {
  static thread_local std::mt19937_64 engine{std::random_device()()};
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(engine()),
                static_cast<unsigned long long>(engine()));
  return prefix + text;
}

/// What every object of an answer begins with.
Json head(const AnswerForm& form, const ServedModel& model, const std::string& id, bool stream) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {{"id", id},
          {"object", form.object(stream)},
          {"created", std::chrono::duration_cast<std::chrono::seconds>(now).count()},
          {"model", model.name}};
}

Json usage_json(const slice::Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.reused_tokens}}}};
}

/// @throws ApiError  a text that ended for a reason that is no answer
void check_finish(const slice::TextPiece& piece) {
  if (piece.finish == slice::Finish::kError)
    throw ApiError(500, piece.error.empty() ? "the model failed" : piece.error);
  if (piece.finish == slice::Finish::kDeadline)
    throw ApiError(504, "the answer took longer than the server allows", "", "deadline");
  if (piece.finish == slice::Finish::kCancelled)
    throw ApiError(503, "the server is stopping", "", "stopping");
}

void append(slice::TextPiece&& piece, slice::TextPiece& text) {
  const auto move_to = [](auto& from, auto& to) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  };
  text.index = piece.index;
  text.text += piece.text;
  move_to(piece.ids, text.ids);
  move_to(piece.logprobs, text.logprobs);
  move_to(piece.prompt_logprobs, text.prompt_logprobs);
  text.finish = piece.finish;
  text.stop_string = std::move(piece.stop_string);
}

/// One request on its way.
class Answer {
 public:
  Answer(Call call, const ServedModel& model, Metrics& metrics)
      : form_(std::move(call.form)),
        streaming_(call.streaming),
        texts_(call.requests.front().texts),
        model_(model),
        metrics_(metrics),
        id_(random_id(form_->id_prefix())),
        prompts_(call.requests.size()),
        job_(*model.engine, std::move(call.requests)) {}

  ~Answer() { metrics_.add_job(job_.times(), job_.usage(), job_.finished()); }

  Json whole() {
    std::vector<slice::TextPiece> texts(prompts_ * static_cast<size_t>(texts_));
    while (!job_.finished()) {
      std::optional<Job::Piece> next = wait();
      check_finish(next->piece);
      append(std::move(next->piece), texts[static_cast<size_t>(choice_of(*next))]);
    }
    Json object = head(*form_, model_, id_, false);
    object["choices"] = Json::array();
    for (size_t i = 0; i < texts.size(); ++i) {
      object["choices"].push_back(
          form_->whole(static_cast<int64_t>(i), i / static_cast<size_t>(texts_), texts[i]));
    }
    object["usage"] = usage_json(job_.usage());
    return object;
  }

  /// Sends some events. @return  false where the client is gone
  bool stream(httplib::DataSink& sink) {
    try {
      if (!opened_) {
        opened_ = true;
        return send(form_->opening(), sink);
      }
      if (!job_.finished()) {
        const std::optional<Job::Piece> next = wait();
        check_finish(next->piece);
        return send(form_->piece(choice_of(*next), next->prompt, next->piece), sink);
      }
      if (streaming_.usage) {
        Json object = head(*form_, model_, id_, true);
        object["choices"] = Json::array();
        object["usage"] = usage_json(job_.usage());
        if (!event(text_of(object), sink)) return false;
      }
    } catch (const ClientGone&) {
      return false;
    } catch (const std::exception& error) {
      if (!event(to_api_error(error).json(), sink)) return false;
    }
    const bool sent = event("[DONE]", sink);
    sink.done();
    return sent;
  }

 private:
  int64_t choice_of(const Job::Piece& piece) const {
    return static_cast<int64_t>(piece.prompt) * texts_ + piece.piece.index;
  }

  /// @throws ClientGone
  std::optional<Job::Piece> wait() {
    while (true) {
      if (std::optional<Job::Piece> next = job_.next(kLook)) return next;
      if (current_connection()->is_gone()) throw ClientGone();
    }
  }

  bool send(const std::vector<Json>& choices, httplib::DataSink& sink) {
    for (const Json& choice : choices) {
      Json object = head(*form_, model_, id_, true);
      object["choices"] = Json::array({choice});
      if (streaming_.usage) object["usage"] = nullptr;
      if (!event(text_of(object), sink)) return false;
    }
    return true;
  }

  static bool event(const std::string& data, httplib::DataSink& sink) {
    const std::string text = "data: " + data + "\n\n";
    return sink.write(text.data(), text.size());
  }

  std::unique_ptr<AnswerForm> form_;
  Streaming streaming_;
  int64_t texts_;
  const ServedModel& model_;
  Metrics& metrics_;
  std::string id_;
  size_t prompts_;
  bool opened_ = false;
  Job job_;
};

}  // namespace

void answer(Call call, const ServedModel& model, Metrics& metrics, httplib::Response& response) {
  const bool streams = call.streaming.stream;
  const auto work = std::make_shared<Answer>(std::move(call), model, metrics);
  if (!streams) {
    response.set_content(text_of(work->whole()) + "\n", "application/json");
    return;
  }
  response.set_header("Cache-Control", "no-cache");
  response.set_chunked_content_provider(
      "text/event-stream", [work](size_t, httplib::DataSink& sink) { return work->stream(sink); });
}

}  // namespace serve
