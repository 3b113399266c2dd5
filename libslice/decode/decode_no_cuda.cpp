// In place of decode_graph_cuda.cpp and what it is made of.

#include "libslice/decode/detail/decode_graph.h"

namespace slice::detail {

std::unique_ptr<Decoding> make_decode_graph(const DecoderImpl&, KvCache&) { return nullptr; }

}  // namespace slice::detail
