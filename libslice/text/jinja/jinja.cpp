#include "libslice/text/jinja/jinja.h"

#include "libslice/base/detail/check.h"
#include "libslice/text/jinja/interpreter.h"
#include "libslice/text/jinja/parser.h"

namespace slice::detail::jinja {

std::string render(std::string_view source, const std::string& name,
                   const std::map<std::string, Value>& variables) {
  const Body body = parse_template(source, name);
  Interpreter interpreter(variables);
  try {
    return interpreter.run(body);
  } catch (const Failure& failure) {
    throw FormatError(
        detail::formatted("{}: line {}: {}", name, interpreter.line(), failure.what()));
  }
}

}  // namespace slice::detail::jinja
