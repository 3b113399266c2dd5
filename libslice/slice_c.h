#ifndef LIBSLICE_SLICE_C_H
#define LIBSLICE_SLICE_C_H

/* The engine of libslice/decode/engine.h for C and what links C: Rust, Go, web servers' modules.
 *
 * No C++ exception leaves a function. Those that return a pointer return NULL on failure, those
 * that return an int one of slice_status below zero; slice_last_error() then says what was wrong, in
 * one line, and slice_last_status() which kind it is. Any thread may call any function, but a
 * request is polled and freed by one thread at a time, and freed once.
 *
 * Structures begin with their size, which their _init function sets with every default: a program
 * built against this header works with a later library, whose structures may be longer. Strings are
 * UTF-8. What a structure points to need not outlive the call; what a function gives belongs to the
 * library, as long as it says. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum slice_status {
  SLICE_OK = 0,
  SLICE_OVER = 1,           /* of slice_poll: every piece was given */
  SLICE_NOTHING_YET = 2,    /* of slice_poll and slice_engine_drain: the time was up */
  SLICE_ERROR = -1,         /* anything that is none of these */
  SLICE_BAD_ARGUMENT = -2,  /* an option out of its range, a prompt without room */
  SLICE_BAD_FILE = -3,      /* a model that is missing, malformed or not supported */
  SLICE_UNKNOWN_MODEL = -4, /* no model of this name */
  SLICE_QUEUE_FULL = -5,    /* try again later */
  SLICE_CLOSED = -6         /* the engine takes no further requests */
} slice_status;

/* Why a text ended, as slice::Finish. */
typedef enum slice_finish {
  SLICE_CONTINUES = 0,
  SLICE_FINISH_STOP = 1,
  SLICE_FINISH_LENGTH = 2,
  SLICE_FINISH_CANCELLED = 3,
  SLICE_FINISH_DEADLINE = 4,
  SLICE_FINISH_ERROR = 5
} slice_finish;

typedef struct slice_engine slice_engine;
typedef struct slice_request slice_request;

/* Of this thread's last failure; until its next call of a function here. */
const char* slice_last_error(void);
slice_status slice_last_status(void);
/* The library's version; never freed. */
const char* slice_library_version(void);

/* As slice::EngineOptions and slice::EngineModel, for one model. */
typedef struct slice_engine_options {
  size_t size;
  const char* model;  /* a path: Hugging Face directory, .gguf, llama2.c .bin */
  const char* name;   /* NULL: the path */
  const char* device; /* "cpu", "cuda", "cuda:1"; NULL: the first GPU, else the CPU */
  int64_t slots, capacity, queue, prompt_chunk, prefix_bytes, step_tokens;
  int threads;
} slice_engine_options;
void slice_engine_options_init(slice_engine_options* options);

/* Loads a model and starts its engine, ready for its first request. Freed by slice_engine_free. */
slice_engine* slice_engine_load(const slice_engine_options* options);
/* Waits until what was submitted has ended; nothing more is taken. SLICE_NOTHING_YET: the time was
 * up before. timeout_ms < 0: none. */
int slice_engine_drain(slice_engine* engine, int64_t timeout_ms);
/* Ends all texts. Requests stay valid, and are freed on their own. NULL is fine. */
void slice_engine_free(slice_engine* engine);

/* Ids of a text, with the token that a text of this model begins with, if there is one.
 * Returns how many there are, of which the first `capacity` were written; below 0: a slice_status.
 */
int64_t slice_tokenize(const slice_engine* engine, const char* text, size_t text_size, int64_t* ids,
                       int64_t capacity);

typedef struct slice_message {
  const char* role; /* "system", "user", "assistant" */
  const char* content;
} slice_message;

/* As slice::Request. Of text, messages and ids one is given. */
typedef struct slice_request_options {
  size_t size;
  const char* text; /* to be continued */
  size_t text_size;
  const slice_message* messages; /* to be answered, by the model's chat template */
  size_t message_count;
  const int64_t* ids;
  size_t id_count;
  int64_t max_tokens, texts, top_k;
  double temperature, top_p, min_p;
  double repetition_penalty, presence_penalty, frequency_penalty;
  uint64_t seed;
  const char* const* stop_strings;
  size_t stop_string_count;
  int priority;
  int64_t timeout_ms; /* < 0: none */
  int64_t logprobs;   /* < 0: none; else of every id, with no alternatives */
  int ignore_end_tokens;
} slice_request_options;
void slice_request_options_init(slice_request_options* options);

/* Puts a request into the queue. Freed by slice_request_free. */
slice_request* slice_submit(slice_engine* engine, const slice_request_options* options);

typedef struct slice_piece {
  int64_t index;    /* of the text */
  const char* text; /* whole characters, ended by a zero byte that text_size does not count */
  size_t text_size;
  const int64_t* ids;
  size_t id_count;
  const double* logprobs; /* id_count of them, or NULL */
  slice_finish finish;
  const char* stop_string; /* the one that was found, else "" */
  const char* error;       /* with SLICE_FINISH_ERROR, else "" */
} slice_piece;

/* The next piece of any text, waiting for it. What it points to stays until the request is polled
 * again or freed. timeout_ms < 0: waits for good; 0: does not.
 * SLICE_OK: a piece; SLICE_NOTHING_YET, SLICE_OVER: none. */
int slice_poll(slice_request* request, int64_t timeout_ms, slice_piece* piece);
/* Ends its texts where they are; their last pieces come. */
void slice_cancel(slice_request* request);

typedef struct slice_usage {
  int64_t prompt_tokens, reused_tokens, completion_tokens;
} slice_usage;
/* Final once slice_poll said SLICE_OVER. */
int slice_request_usage(const slice_request* request, slice_usage* usage);
/* Cancels what still runs. NULL is fine. */
void slice_request_free(slice_request* request);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
