#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libslice/text/tokenizer.h"

namespace slice {

/// The whole text of a file, whatever it is called, decompressed where its name says so. A byte-order
/// mark is skipped. @throws FormatError  missing, not UTF-8 (byte offset), damaged, more than 2 GiB
std::string read_file_text(const std::string& path);

/// Reads UTF-8 text by what a file is called; "-" is standard input. A byte-order mark is skipped.
///   `.json`, `.jsonl`, `.ndjson`   records, as JSON lines or one array, joined by a blank line
///   any of these or other text with `.gz`, `.xz` or `.zst` after it   decompressed
///   any other                      plain text
/// A record is a string, or an object with, in this order:
///   text
///   messages, conversations or conversation   a list of {role, content} or {from, value}, after a
///                                             system message where there is a "system"
///   instruction, output                       with an input between them where there is one, a
///                                             line each; other names: context, response
///   prompt, completion                        one after the other, texts or lists of messages
///   prompt or question, response or answer    joined by a line break
///   content
/// or an object that is none of these with one array of them ({"data": […]}). Of a conversation
/// this function gives the contents, one a line; encode_file() knows the chat template.
/// Holds the text, 2 GiB at most, and one record of the file.
/// @throws FormatError  missing, empty, not UTF-8 (byte offset), compressed data that is damaged, a
///                      record that is malformed or none of these (line)
std::string read_text(const std::string& path);

/// The ids of read_text(), without a beginning token; but where the tokenizer has a chat template,
/// each conversation is encode_chat() of its messages. Those that the template refuses are left out
/// with a warning. @throws FormatError  as read_text and Tokenizer::encode
std::vector<int64_t> encode_file(const Tokenizer& tokenizer, const std::string& path);

}  // namespace slice
