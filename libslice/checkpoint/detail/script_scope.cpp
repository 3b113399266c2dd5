#include "libslice/checkpoint/detail/script_scope.h"

#include <algorithm>
#include <cctype>

#include "libslice/base/detail/formatted.h"

namespace slice::detail {

std::string ScriptScope::member(const std::string& path) {
  std::string text = "self";
  for (size_t begin = 0, end = 0; end != path.size(); begin = end + 1) {
    end = std::min(path.find('.', begin), path.size());
    const std::string step = path.substr(begin, end - begin);
    const bool number = std::ranges::all_of(step, [](unsigned char c) { return std::isdigit(c); });
    text = number ? formatted("getattr({}, \"{}\")", text, step) : text + "." + step;
  }
  return text;
}

std::string ScriptScope::member_or_none(const std::string& path) const {
  return has(path) ? member(path) : "None";
}

std::string ScriptScope::linear(const std::string& input, const std::string& path) const {
  return formatted("torch.linear({}, {}, {})", input, member(path + ".weight"),
                   member_or_none(path + ".bias"));
}

std::string ScriptScope::norm(const std::string& variable, const std::string& path,
                              const ScriptNorm& norm) const {
  if (norm.kind == NormKind::kNone) return variable;
  if (norm.centres)
    return formatted("torch.layer_norm({}, [{}], {}, {}, {})", variable, norm.width,
                     member_or_none(path + ".weight"), member_or_none(path + ".bias"),
                     script_number(norm.eps));
  const std::string wide = formatted("{}.to({})", variable, script_wide(variable));
  std::string text = formatted(
      "({} * torch.rsqrt(torch.square({}).sum([-1], True) / {} + {})).to({}.dtype)", wide, wide,
      script_number(static_cast<double>(norm.width)), script_number(norm.eps), variable);
  if (has(path + ".weight")) text += " * " + member(path + ".weight");
  return text;
}

std::string script_number(double value) {
  const std::string text = formatted("{:.17g}", value);
  return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

std::string script_dtype(at::ScalarType dtype) { return std::to_string(static_cast<int>(dtype)); }

std::string script_wide(const std::string& variable) {
  return formatted("torch.promote_types({}.dtype, {})", variable, script_dtype(at::kFloat));
}

}  // namespace slice::detail
