#include "libslice/text/jinja/jinja.h"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

#include "libslice/base/detail/file.h"
#include "libslice/base/error.h"
#include "tests/support/places.h"
#include "tests/support/tokenizer_files.h"

namespace slice::detail::jinja {
namespace {

using Json = nlohmann::ordered_json;
using Variables = std::map<std::string, Value>;
using tests::check_contains;
using tests::refusal;

Value to_value(const Json& json) {
  if (json.is_null()) return None();
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  std::vector<Value> items;
  std::vector<std::pair<std::string, Value>> entries;
  for (const auto& [key, item] : json.items()) {
    json.is_object() ? entries.emplace_back(key, to_value(item)),
        void()       : items.push_back(to_value(item));
  }
  return json.is_object() ? Value::dict(std::move(entries)) : Value::list(std::move(items));
}

Variables to_variables(const Json& json) {
  Variables variables;
  for (const auto& [name, value] : json.items()) variables.emplace(name, to_value(value));
  return variables;
}

std::string rendered(const std::string& source, const Variables& variables = {}) {
  return render(source, "chat_template", variables);
}

std::string refused(const std::string& source, const Variables& variables = {}) {
  return refusal([&] { rendered(source, variables); });
}

Json goldens() {
  const std::string directory = tests::data_directory().string();
  return Json::parse(read_text_file(directory + "/chat_templates.json"));
}

void check_outcome(const Json& golden, const std::string& source, const Variables& variables) {
  if (golden.contains("refused")) {
    INFO(golden["refused"].get<std::string>());
    check_contains(refused(source, variables), "chat_template: line ");
  } else {
    std::string text;
    REQUIRE_NOTHROW(text = rendered(source, variables));
    CHECK(text == golden["expected"].get<std::string>());
  }
}

TEST_CASE("chats are rendered as by Transformers", "[jinja]") {
  const Json all = goldens();
  for (const Json& chat : all["chats"]) {
    const std::string style = chat["style"], conversation = chat["conversation"];
    Variables variables = to_variables(all["conversations"][conversation]);
    variables.merge(to_variables(all["tokens"]));
    variables.emplace("add_generation_prompt", chat["add_generation_prompt"].get<bool>());
    INFO(style << ": " << conversation);
    check_outcome(chat, all["styles"][style], variables);
  }
}

TEST_CASE("expressions, filters, tests and statements mean what they mean in Jinja", "[jinja]") {
  const Json all = goldens();
  const Variables variables = to_variables(all["variables"]);
  for (const Json& snippet : all["snippets"]) {
    const std::string source = snippet["template"];
    INFO(source);
    check_outcome(snippet, source, variables);
  }
}

TEST_CASE("a refusal names the line and the unsupported part", "[jinja]") {
  struct Row {
    const char *source, *message;
  };
  const Row rows[] = {
      {"a\n\n{% include 'x' %}", "chat_template: line 3: the statement 'include' is not supported"},
      {"\n{{ 'a' | md5 }}", "line 2: the filter 'md5' is not supported"},
      {"{{ 1 is prime }}", "line 1: the test 'prime' is not supported"},
      {"{{ [].append(1) }}", "line 1: 'append' of a list is undefined"},
      {"{{ cycler(1) }}", "line 1: a cycler or joiner cannot be printed"},
      {"{{ '\\N{NO SUCH DASH}' }}", "'\\N{NO SUCH DASH}' is not the name of a character"},
      {"\n{% import 'x' as y %}", "line 2: the statement 'import' is not supported"},
      {"{% autoescape true %}{% endautoescape %}", "the statement 'autoescape' is not supported"},
      {"{% raw %}{{ a }}", "line 1: 'raw' without 'endraw'"},
      {"{% block a %}{% endblock %}\n{% block a %}{% endblock %}",
       "line 2: the block 'a' is defined twice"},
      {"{% macro m(caller) %}{% endmacro %}", "the parameter 'caller' without a default"},
      {"\n{% call 1 %}{% endcall %}", "line 2: 'call' without a call"},
      {"{% for a in [1] %}{{ loop([]) }}{% endfor %}", "'loop' of a loop that is not recursive"},
      {"{{ 1 is odd is even }}", "a test of a test needs parentheses"},
      {"{{ 'a'|urlize }}", "the filter 'urlize' is not supported"},
      {"{{ lipsum() }}", "'lipsum' is not supported"},
      {"{{ self.a() }}", "'self' is not supported"},
      {"{{ ''.maketrans('a', 'b') }}", "'maketrans' of a string is not supported"},
      {"{{ {}.fromkeys([1]) }}", "'fromkeys' of a dict is not supported"},
      {"{{ 'a'.encode('latin-1') }}", "encode('latin-1') is not supported"},
      {"{{ [1]|map('upper') }}", "an iterator cannot be printed"},
      {"{{ 'a'.upper }}", "a function cannot be printed"},
      {"{{ ([1]|select)|length }}", "the length of an iterator"},
      {"{{ [1, 'a']|sort }}", "'<' between a string and an integer"},
      {"{{ {[1]: 2} }}", "a key of a dict cannot be a list"},
      {"{{ '%q' % 1 }}", "'%q' of an integer is not supported"},
      {"{{ '{:z}'.format(1) }}", "the format 'z' of an integer is not supported"},
      {"{{ '{}'.format() }}", "format(): no argument 0"},
      {"{{ 10 ** 19 }}", "an integer past 64 bits"},
      {"{{ 10 ** 400 }}", "an integer past 64 bits"},
      {"{{ namespace(_a=1) }}", "a namespace takes no member '_a'"},
      {"{{ namespace() }}", "a namespace cannot be printed"},
      {"\n{% if true %}\n{% for a in [] %}\n{% endfor %}", "line 2: 'if' without 'endif'"},
      {"{{\n\n", "line 1: '{{' without '}}'"},
      {"a {# b", "line 1: a comment without '#}'"},
      {"{{ ] }}", "']' closes no bracket"},
      {"{{ ? }}", "'?' begins no token"},
      {"{{ € }}", "'€' begins no token"},
      {"{{ 99999999999999999999 }}", "99999999999999999999 is too large"},
      {"{{ 9223372036854775807 + 1 }}", "an integer past 64 bits"},
      {"{{ (0 - 9223372036854775807 - 1) // -1 }}", "an integer past 64 bits"},
      {"{{ raise_exception('only users') }}", "the template refuses: only users"},
      {"{{ strftime_now('%500c') }}", "strftime_now(): nothing, or more than 255 bytes"},
      {"\xff", "chat_template: not UTF-8 at byte 0"},
  };
  for (const Row& row : rows) {
    INFO(row.source);
    check_contains(refused(row.source), row.message);
  }
}

std::string repeated(const std::string& text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i) result += text;
  return result;
}

TEST_CASE("no nesting is deep enough to leave the stack", "[jinja]") {
  constexpr size_t kMany = 100000;
  const std::string open = repeated("[", kMany), macro = "{% macro m(a) %}{{ m(a) }}{% endmacro %}";
  const std::string sources[] = {
      "{{ " + open + repeated("]", kMany) + " }}",
      "{{ " + repeated("(", kMany) + "1" + repeated(")", kMany) + " }}",
      "{{ " + repeated("{'a':", kMany) + "1" + repeated("}", kMany) + " }}",
      "{{ " + repeated("not ", kMany) + "1 }}",
      "{{ " + repeated("- ", kMany) + "1 }}",
      "{{ 1" + repeated(" + 1", kMany) + " }}",
      "{{ 1" + repeated(" ~ 1", kMany) + " }}",
      "{{ 1" + repeated(" and 1", kMany) + " }}",
      "{{ 1" + repeated(" if 1 else 1", kMany / 2) + " }}",
      "{{ a" + repeated(".a", kMany) + " }}",
      "{{ a" + repeated("[a", kMany) + repeated("]", kMany) + " }}",
      "{{ a" + repeated("(a", kMany) + repeated(")", kMany) + " }}",
      "{{ a" + repeated("|string", kMany) + " }}",
      "{{ a" + repeated(" is defined", kMany / 2) + " }}",
      "{{ 'a'|map(" + repeated("'map',", kMany) + "'upper') }}",
      repeated("{% if 1 %}", kMany / 3) + repeated("{% endif %}", kMany / 3),
      repeated("{% for a in [1] %}", 20000) + repeated("{% endfor %}", 20000),
      repeated("{% filter upper %}", 20000) + repeated("{% endfilter %}", 20000),
      repeated("{% with a = 1 %}", 20000) + repeated("{% endwith %}", 20000),
      "{% for " + repeated("(", kMany) + "a" + repeated(")", kMany) + " in [] %}{% endfor %}",
      "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{% macro m() %}{{ caller() }}{% endmacro %}{% macro k() %}{% call m() %}{{ k() }}"
      "{% endcall %}{% endmacro %}{{ k() }}",
      "{% set n = namespace(a=[1]) %}{% for i in range(1000) %}{% set n.a = n.a|map('string') %}"
      "{% endfor %}{{ n.a|list }}",
      macro + "{{ m(1) }}",
      "{% macro m() %}{% for a in [1] %}{% if a %}{{ [m()]|join }}{% endif %}{% endfor %}"
      "{% endmacro %}{{ m() }}",
      "{% macro m(a=m()) %}{% endmacro %}{{ m() }}",
      "{% set n = namespace(a=[]) %}{% for i in range(1000) %}{% set n.a = [n.a] %}{% endfor %}",
      "{% set n = namespace(a=1) %}{% for i in range(1000) %}{% set n.a = {'a': n.a} %}{% endfor "
      "%}",
      "{% set n = namespace(a='x') %}{% for i in range(1000) %}{% set n.a = [n.a.upper, [n.a]] %}"
      "{% endfor %}",
  };
  for (const std::string& source : sources) {
    INFO(source.substr(0, 80));
    check_contains(refused(source), "chat_template: line 1: ");
  }
}

TEST_CASE("the time, output and memory of a template are limited", "[jinja]") {
  const std::string doubling =
      "{% set n = namespace(a='xxxxxxxx', l=[1]) %}{% for i in range(40) %}";
  const std::string forever = "{% for a in range(99999) %}{% for b in range(99999) %}";
  const std::string sources[] = {
      doubling + "{% set n.a = n.a ~ n.a %}{% endfor %}",
      doubling + "{% set n.a = n.a * 1000 %}{% endfor %}",
      doubling + "{% set n.a = n.a.replace('x', n.a) %}{% endfor %}",
      doubling + "{% set n.a = n.a.join([n.a, n.a]) %}{% endfor %}",
      doubling + "{% set n.l = n.l + n.l %}{% endfor %}",
      doubling + "{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
      doubling + "{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l|tojson }}",
      doubling + "{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l == n.l }}",
      doubling + "{% set n.l = {'a': n.l, 'b': n.l} %}{% endfor %}{{ n.l|string }}",
      "{{ [[1]]|tojson(indent=9223372036854775807) }}",
      "{{ 'x' * 9223372036854775807 }}",
      "{{ range(9223372036854775807) }}",
      "{{ 'x'.center(9223372036854775807) }}",
      "{{ '%999999999d' % 1 }}",
      "{{ '{:9999999999}'.format('x') }}",
      "{{ '{:.9999999999f}'.format(1.5) }}",
      "{{ 'x'|indent(9223372036854775807) }}",
      "{{ [1] * 9223372036854775807 }}",
      "{{ [1]|batch(9223372036854775807, 1)|list }}",
      "{{ []|slice(9223372036854775807)|list }}",
      "{{ ('\t'|string).expandtabs(9223372036854775807) }}",
      doubling + "{% set n.l = n.l * 1000 %}{% endfor %}",
      doubling + "{% set n.a = n.a.translate({120: n.a}) %}{% endfor %}",
      doubling + "{% set n.a = '%s%s'|format(n.a, n.a) %}{% endfor %}",
      doubling + "{% set n.a = '{0}{0}'.format(n.a) %}{% endfor %}",
      forever + "{% endfor %}{% endfor %}",
      forever + "x{% endfor %}{% endfor %}",
      forever + "{% set c = namespace() %}{% endfor %}{% endfor %}",
      "{% set a = 'a' * 8000000 %}{{ (a ~ a ~ 'b').find(a ~ 'b') }}",
      "{% set a = 'a' * 9000000 %}{{ a }}{{ a }}",
      repeated("x", kMaxTemplateBytes + 1),
  };
  for (const std::string& source : sources) {
    INFO(source.substr(0, 200));
    const auto begin = std::chrono::steady_clock::now();
    check_contains(refused(source), "chat_template: ");
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
  }
}

TEST_CASE("the time of a template does not grow with the loops around a name", "[jinja]") {
  constexpr size_t kLoops = 190;
  const std::string look_up =
      "{% for z in range(99999) %}" + repeated("{{ a and b }}", 8) + "{% endfor %}";
  const std::string source = "{% set a = 0 %}" + repeated("{% for q in range(9) %}", kLoops) +
                             look_up + repeated("{% endfor %}", kLoops);
  const auto begin = std::chrono::steady_clock::now();
  check_contains(refused(source), "does not come to an end");
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE("a namespace that contains itself is not an endless loop", "[jinja]") {
  CHECK(rendered("{% set n = namespace() %}{% set n.n = n %}{{ n.n.n == n }}{{ [n] == [n.n] }}") ==
        "TrueTrue");
}

TEST_CASE("templates cut or changed anywhere are rendered or refused", "[jinja]") {
  const Json all = goldens();
  Variables variables = to_variables(all["conversations"]["tools"]);
  variables.merge(to_variables(all["tokens"]));
  const auto try_out = [&](const std::string& source) {
    try {
      rendered(source, variables);
    } catch (const FormatError&) {
    }
  };
  for (const Json& style : all["styles"]) {
    const std::string source = style;
    for (size_t i = 0; i < source.size(); i += 7) {
      try_out(source.substr(0, i));
      try_out(source.substr(i));
      std::string changed = source;
      changed[i] = "{}%-'|.([,"[i % 10];
      try_out(changed);
    }
  }
  SUCCEED("nothing else was thrown");
}

}  // namespace
}  // namespace slice::detail::jinja
