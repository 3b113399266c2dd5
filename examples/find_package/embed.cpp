// embed MODEL PROMPT...: texts for several prompts at the same time, each printed as it comes.
#include <libslice/slice.h>

#include <iostream>
#include <thread>

int main(int argc, char** argv) try {
  if (argc < 3) return std::cerr << "usage: embed MODEL PROMPT...\n", 2;
  const auto model = std::make_shared<const slice::Model>(slice::load_model(argv[1]));
  const slice::Tokenizer& tokenizer = model->tokenizer();
  const slice::EngineOptions options = {
      .models = {{.name = "model", .model = model, .slots = 8, .capacity = 512}},
      .prefix_bytes = int64_t{256} << 20};
  std::cout << "takes " << slice::engine_bytes(options).total() / (1 << 20) << " MiB\n";
  slice::Engine engine(options);
  engine.warm_up();

  const auto serve = [&](const char* prompt) {  // on a thread of the client's
    slice::Request request;
    request.prompt = tokenizer.encode(prompt, /*special=*/true);
    request.options = {.max_tokens = 32, .sampling = {.temperature = 0.7, .top_p = 0.9}, .seed = 1};
    request.stop_strings = {"\n\n"};
    request.deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    slice::RequestHandle handle = engine.submit(std::move(request));  // throws QueueFull: try later
    std::string text;
    while (const auto piece = handle.next()) {
      text += piece->text;  // whole characters: to be sent on
      if (piece->finish == slice::Finish::kError) text += " [" + piece->error + "]";
    }
    std::cout << std::string(prompt) + text + '\n';
  };
  std::vector<std::thread> clients;
  for (int i = 2; i < argc; ++i) clients.emplace_back(serve, argv[i]);
  for (std::thread& client : clients) client.join();
  engine.drain();
  std::cout << engine.statistics().completion_tokens << " tokens\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
