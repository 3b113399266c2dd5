#pragma once

/// Everything a program needs: load a model, slice it, save it, measure it, let it write.

#include "libslice/adapter.h"
#include "libslice/calibration.h"
#include "libslice/chat.h"
#include "libslice/checkpoint.h"
#include "libslice/config.h"
#include "libslice/device.h"
#include "libslice/error.h"
#include "libslice/generator.h"
#include "libslice/gguf_write.h"
#include "libslice/model.h"
#include "libslice/partial_directory.h"
#include "libslice/pass_cost.h"
#include "libslice/perplexity.h"
#include "libslice/plan.h"
#include "libslice/report.h"
#include "libslice/search.h"
#include "libslice/slice_checkpoint.h"
#include "libslice/slice_model.h"
#include "libslice/tokenizer.h"
