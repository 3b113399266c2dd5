/* embed_c MODEL PROMPT: continues a text by the C interface, printed as it comes. */
#include <libslice/slice_c.h>
#include <stdio.h>
#include <string.h>

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, slice_last_error());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return fputs("usage: embed_c MODEL PROMPT\n", stderr), 2;
  slice_engine_options options;
  slice_engine_options_init(&options);
  options.model = argv[1];
  slice_engine* engine = slice_engine_load(&options);
  if (engine == NULL) return failed(argv[1]);

  slice_request_options wanted;
  slice_request_options_init(&wanted);
  wanted.text = argv[2];
  wanted.text_size = strlen(argv[2]);
  wanted.max_tokens = 32;
  slice_request* request = slice_submit(engine, &wanted);
  if (request == NULL) return slice_engine_free(engine), failed("submit");

  slice_piece piece;
  int status, result = 0;
  while ((status = slice_poll(request, -1, &piece)) == SLICE_OK) {
    fwrite(piece.text, 1, piece.text_size, stdout);
    fflush(stdout);
    if (piece.finish == SLICE_FINISH_ERROR) result = (fprintf(stderr, "%s\n", piece.error), 1);
  }
  if (status != SLICE_OVER) result = failed("poll");
  slice_usage usage;
  if (slice_request_usage(request, &usage) == SLICE_OK)
    printf("\n%lld tokens, libslice %s\n", (long long)usage.completion_tokens,
           slice_library_version());
  slice_request_free(request);
  slice_engine_free(engine);
  return result;
}
