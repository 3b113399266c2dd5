#pragma once

namespace slice::detail {

/// Hands freed heap pages back to the system. Weights of ever new sizes leave holes between them
/// that the heap keeps otherwise: half a gigabyte over the layers of a 135M model. Cost: one walk
/// over the heap, milliseconds; does nothing where the C library cannot.
void release_free_memory();

}  // namespace slice::detail
