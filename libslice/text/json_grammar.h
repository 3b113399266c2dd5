#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "libslice/text/token_bytes.h"

namespace slice {

namespace detail {
struct GrammarProgram;
class JsonState;
}  // namespace detail

/// Which JSON texts a model may write: any object, or the values of a schema (JSON Schema 2020-12).
/// Every text that it takes to its end is JSON (RFC 8259) and valid against the schema. Not every
/// valid text is taken:
///
///   objects   named properties come in the schema's order, before those without a name; where
///             `properties` is there, `additionalProperties` is false unless it is given
///   names     and the values of enum and const are written as nlohmann's dump() writes them; names
///             of other properties without an escape in what they share with a named one
///   numbers   18 digits before the point and after it, 2 of an exponent
///   nesting   64 deep; white space: in one place a space, or a new line and up to 24 spaces or tabs,
///             and none after the end
///
/// Keywords: type (also several), enum, const, anyOf, allOf of one, $ref within the schema (recursive
/// too), properties, required, additionalProperties, items, minItems, maxItems (to 10,000), minLength,
/// maxLength (to 1,000,000, in code points); titles, descriptions and other words are passed over.
/// All others are refused by name. A `required` name without a schema takes any value; `properties`
/// and the like without `type` mean an object, `items` an array, lengths a string.
///
/// Immutable, cheap to copy and safe to share between threads.
class JsonGrammar {
 public:
  static JsonGrammar any_object();
  /// @throws FormatError  malformed or not supported (names the place and the keyword), without a
  ///                      value, with a definition that begins with itself, or too large
  static JsonGrammar of_schema(std::string_view schema);

 private:
  friend class JsonText;
  explicit JsonGrammar(detail::GrammarProgram program);
  std::shared_ptr<const detail::GrammarProgram> program_;
};

/// A text that a model writes by a grammar, token by token. Not to be shared between threads.
class JsonText {
 public:
  JsonText(JsonGrammar grammar, std::shared_ptr<const TokenBytes> tokens);
  ~JsonText();
  JsonText(JsonText&&) noexcept;

  /// One more token. @return  false where it does not fit; the text is as before then
  bool push(int64_t id);
  /// Whether the text is a whole value.
  bool may_end() const;
  /// Sets allowed[id] to 1 for every token that may come next, leaves the others. It fits where the
  /// text of the token keeps the text a beginning of one that the grammar takes.
  /// Cost: at most one step a byte of the vocabulary and way in which the text fits; within a
  /// string one look at every token, and steps for the few that are not plain characters.
  /// @param allowed  (V) or longer; ids that are not there are passed over
  /// @throws FormatError  the schema is ambiguous in more ways than can be followed
  void allow(std::span<uint8_t> allowed);

 private:
  JsonGrammar grammar_;
  std::shared_ptr<const TokenBytes> tokens_;
  std::unique_ptr<detail::JsonState> state_;
};

}  // namespace slice
