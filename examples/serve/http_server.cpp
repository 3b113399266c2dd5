#include "examples/serve/http_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <exception>
#include <string_view>
#include <thread>
#include <utility>

#include "examples/serve/api_error.h"
#include "examples/serve/connection.h"
#include "examples/serve/connection_threads.h"
#include "libslice/base/error.h"

namespace serve {
namespace {

constexpr int kBacklog = 512;

void set_error(httplib::Response& response, const ApiError& error) {
  response.status = error.status();
  response.set_content(error.json() + "\n", "application/json");
  if (const auto seconds = error.retry_after())
    response.set_header("Retry-After", std::to_string(*seconds));
}

/// Written without a look at the request.
void write_refusal(int socket) {
  const ApiError error(503, "too many connections, try again later", "", "too_many_connections");
  const std::string body = error.json() + "\n";
  const std::string text =
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
      "Connection: close\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  send(socket, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  shutdown(socket, SHUT_WR);
  char discarded[4096];  // what came already; with it unread the client would see a reset
  while (recv(socket, discarded, sizeof discarded, MSG_DONTWAIT) > 0) continue;
}

void refuse_connection(int socket) {
  try {
    write_refusal(socket);
  } catch (const std::exception&) {  // no memory for the words
  }
  close(socket);
}

bool has_body(const httplib::Request& request) {
  return request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
}

}  // namespace

HttpServer::HttpServer(const HttpLimits& limits, Admit admit, OnAnswer on_answer)
    : limits_(limits), admit_(std::move(admit)) {
  new_task_queue = [this] {
    return new ConnectionThreads(static_cast<size_t>(limits_.connections));
  };
  set_payload_max_length(static_cast<size_t>(limits_.body_bytes));
  set_tcp_nodelay(true);
  // The library's own choice, SO_REUSEPORT, would let a second server take half of the clients.
  set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  set_keep_alive_timeout(limits_.idle_seconds);
  set_keep_alive_max_count(static_cast<size_t>(limits_.requests));
  set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    current_connection()->begin_body();
    // An answer is made anew each time, so a part of one is of no use, and many parts are a weapon.
    const_cast<httplib::Request&>(request).ranges.clear();
    try {
      check(request);
      admit_(request);
      return HandlerResponse::Unhandled;
    } catch (const std::exception& error) {
      set_error(response, to_api_error(error));
      response.set_header("Connection", "close");
      return HandlerResponse::Handled;
    }
  });
  set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (response.body.empty()) answer_error(response);
  });
  set_logger([on_answer = std::move(on_answer)](const httplib::Request& request,
                                                const httplib::Response& response) {
    on_answer(request, response.status);
  });
}

// What a path takes, and which bodies can be read.
void HttpServer::check(const httplib::Request& request) const {
  const auto found = methods_.find(request.path);
  if (found == methods_.end()) throw ApiError(404, "no such path", "", "unknown_path");
  const bool head = request.method == "HEAD" && found->second.contains("GET");
  if (!head && !found->second.contains(request.method))
    throw ApiError(405, "this path takes " + *found->second.begin(), "", "method_not_allowed");
  if (request.has_header("Transfer-Encoding")) {
    if (request.has_header("Content-Length"))
      throw ApiError(400, "Content-Length beside Transfer-Encoding");
    if (request.get_header_value("Transfer-Encoding") != "chunked")
      throw ApiError(400, "Transfer-Encoding: want chunked");
  }
  if (request.get_header_value_count("Content-Length") > 1)
    throw ApiError(400, "Content-Length more than once");
  if (request.method == "POST" && !has_body(request))
    throw ApiError(411, "Content-Length is missing");
  if (!has_body(request)) return;
  const std::string length = request.get_header_value("Content-Length");
  if (length.find_first_not_of("0123456789") != std::string::npos || length.size() > 18)
    throw ApiError(length.size() > 18 ? 413 : 400, "Content-Length: want a number of bytes");
  if (!length.empty() && std::stoll(length) > limits_.body_bytes)
    throw ApiError(413, "the body has more than " + std::to_string(limits_.body_bytes) + " bytes");
  if (request.has_header("Content-Encoding") &&
      request.get_header_value("Content-Encoding") != "identity")
    throw ApiError(415, "Content-Encoding: want the body as it is");
  const std::string type = request.get_header_value("Content-Type");
  if (request.method == "POST" && !type.starts_with("application/json"))
    throw ApiError(415, "Content-Type: want application/json");
}

// What cpp-httplib refuses by itself has a status and no words.
void HttpServer::answer_error(httplib::Response& response) {
  const Connection& connection = *current_connection();
  if (connection.is_too_large()) {
    set_error(response, connection.in_body() ? ApiError(413, "the body is too large")
                                             : ApiError(431, "the headers are too large"));
  } else if (connection.is_too_slow()) {
    set_error(response, ApiError(408, "the request took too long to arrive"));
  } else if (connection.is_cut()) {
    set_error(response, ApiError(503, "the server is stopping", "", "stopping"));
  } else {
    set_error(response, ApiError(response.status, "the request is not valid HTTP"));
  }
  response.set_header("Connection", "close");
}

void HttpServer::on(const std::string& method, const std::string& path, Respond respond) {
  methods_[path].insert(method);
  const auto handler = [this, respond = std::move(respond)](const httplib::Request& request,
                                                            httplib::Response& response) {
    current_connection()->set_whole();
    ++answering_;
    try {
      respond(request, response);
    } catch (const std::exception& error) {
      response = httplib::Response();
      set_error(response, to_api_error(error));
    }
  };
  std::string pattern;  // of this path alone: routes are regular expressions
  for (const char c : path) {
    if (std::string_view(".*+?()[]{}|^$\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  if (method == "GET") Get(pattern, handler);
  if (method == "POST") Post(pattern, handler);
}

int HttpServer::bind(const std::string& host, int port) {
  if (port == 0) {
    port = bind_to_any_port(host);
  } else if (!bind_to_port(host, port)) {
    port = -1;
  }
  if (port < 0) throw slice::Error(host + ": cannot listen there; is the port taken?");
  ::listen(svr_sock_, kBacklog);  // more than the library's 5, which a burst of clients overruns
  return port;
}

void HttpServer::run() { listen_after_bind(); }

bool HttpServer::wait_for_answers(std::chrono::milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (answering_ > 0) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

void HttpServer::stop() {
  stopping_ = true;
  httplib::Server::stop();
}

bool HttpServer::process_and_close_socket(socket_t socket) {
  if (ConnectionThreads::is_refusing()) {
    refuse_connection(socket);
    return false;
  }
  try {
    Connection connection(socket, limits_, stopping_);
    current_connection() = &connection;
    answer_requests(connection);
    current_connection() = nullptr;
    connection.close();
    return true;
  } catch (const std::exception&) {  // no memory for a connection
    ::close(socket);
    return false;
  }
}

/// What is thrown, for want of memory, ends the connection and not the server.
void HttpServer::answer_requests(Connection& connection) {
  bool goes_on = true;
  for (int count = 1; goes_on && connection.wait_for_request(); ++count) {
    bool closed = false, written = false;
    const bool last = count >= limits_.requests || stopping_;
    try {
      written = process_request(connection, last, closed, nullptr);
    } catch (const std::exception&) {
      closed = true;
    }
    if (connection.whole()) --answering_;
    goes_on = written && !closed && !last && connection.whole();
  }
}

}  // namespace serve
