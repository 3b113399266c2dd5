#include <ATen/ATen.h>
#include <libslice/slice.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: find_package_example MODEL\n", 2;
  slice::Model model = slice::load_model(argv[1]);
  const at::Tensor tokens = at::randint(16, {8, 32}, at::kLong);  // (N, T)
  slice::slice_model(model, tokens, {.slice = 0.25});
  std::cout << "libslice " << slice::version() << ": " << slice::perplexity(model, tokens) << '\n';
}
