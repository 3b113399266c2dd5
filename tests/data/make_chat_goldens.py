"""Writes chat_templates.json: what Transformers makes of conversations with chat templates.

Usage: python make_chat_goldens.py        (transformers, jinja2)

The templates are our own wording of the styles that published models use. `chats` is every style with every
conversation, with and without add_generation_prompt; `snippets` are small templates over `variables`. Each holds either
`expected`, the text, or `refused`, the kind of error, or "address" where Python prints one.
"""

import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

CHATML = """\
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\\nBe of use.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

INST = """\
{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}{% set system = messages[0]['content'] %}\
{% else %}{% set turns = messages %}{% set system = false %}{% endif %}
{% for message in turns %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('users and assistants take turns') }}
{% endif %}
{% if loop.index0 == 0 and system != false %}
{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}
{% else %}
{% set content = message['content'] %}
{% endif %}
{% if message['role'] == 'user' %}
{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
{% elif message['role'] == 'assistant' %}
{{ ' ' + content | trim + ' ' + eos_token }}
{% endif %}
{% endfor %}
"""

HEADERS = """\
{{- bos_token }}
{%- if not date is defined %}
    {%- set date = "26 Jul 2024" %}
{%- endif %}
{#- the first message may be the system's -#}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday: " ~ date ~ "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one call at a time") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}
        {{- "}" }}<|eot_id|>
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

ALTERNATING = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(turn=0) %}
{%- for message in loop_messages if message.role in ["user", "assistant"] and not message.tool_calls %}
    {%- if (message["role"] == "user") != (ns.turn % 2 == 0) %}
        {{- raise_exception("users and assistants take turns, not '" + message.role + "' at " ~ ns.turn) }}
    {%- endif %}
    {%- set ns.turn = ns.turn + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == (loop_messages | selectattr("role", "equalto", "user") | list | last)) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}{{- ", " }}{% else %}{{- "]" }}{% endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- else %}
        {{- raise_exception("unknown role " ~ message.role) }}
    {%- endif %}
{%- endfor %}
"""

TOOLS = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "Functions within <tools></tools>:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and (loop.last or (not loop.last and thought)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if (loop.first and content) or (not loop.first) %}
                {{- '\\n' }}
            {%- endif %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments if tool_call.arguments is string else tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != "tool" %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

LINES = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}

{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
"""

TURNS = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

MACROS = """\
{%- macro type_of(spec, optional=false) -%}
    {%- if spec.type == "array" -%}
        {{- type_of(spec['items']) + "[]" if spec['items'] else "any[]" }}
    {%- elif spec.enum -%}
        {{- '"' + spec.enum|join('" | "') + '"' }}
    {%- elif spec.type == "object" and spec.properties -%}
        {{- "{" }}{% for name, inner in spec.properties|items %}
            {{- name }}{{ "" if name in (spec.required or []) else "?" }}: {{ type_of(inner, optional=true) }}
            {{- ", " if not loop.last }}
        {%- endfor %}{{- "}" }}
    {%- else -%}
        {{- spec.type | default("any") }}
    {%- endif -%}
    {%- if optional and spec.default is defined %}{{ " = " ~ spec.default|tojson }}{% endif %}
{%- endmacro -%}
{% for tool in tools or [] %}
type {{ tool.function.name }} = ({{ type_of(tool.function.parameters) }}) => any;
{% endfor %}
{% for message in messages %}
{% if message.role == "system" %}{% continue %}{% endif %}
<|start|>{{ message.role }}<|message|>{{ message.content }}<|{{ "end" if loop.nextitem else "return" }}|>
{% if loop.index >= 3 %}{% break %}{% endif %}
{% else %}
nobody spoke
{% endfor %}
{% set tail %}
<|start|>assistant
{% endset %}
{{ tail if add_generation_prompt }}
"""

STYLES = {"chatml": CHATML, "inst": INST, "headers": HEADERS, "alternating": ALTERNATING, "tools": TOOLS,
          "lines": LINES, "turns": TURNS, "macros": MACROS}

SPECIAL = "  <|im_end|> {{ 1 }} {% if %} \"quoted\" 'single' \\ back\n\n\ttab é 漢字 🙂 \u00a0\u2028 </s>  "


def say(*contents):
    roles = ["user", "assistant"]
    return [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


SYSTEM = [{"role": "system", "content": "  Answer in one word.\n"}]
CONVERSATIONS = {
    "one turn": say("Hello there"),
    "system": SYSTEM + say("Hello there"),
    "several turns": say("Hello", " Hi! ", "How are you?", "Well.", "Good"),
    "system, several turns": SYSTEM + say("Hello", "Hi!", "How are you?"),
    "ends with the answer": say("Hello", "Hi!"),
    "empty content": say("", "", ""),
    "special characters": SYSTEM + say(SPECIAL, SPECIAL, SPECIAL),
    "thoughts": say("2 + 2?", "<think>\nwell\n</think>\n\nfour", "and then?", "<think>\nhm\n</think>\n\nfive"),
    "two users": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "only the system": SYSTEM,
    "parts": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " what? "}]}],
    "nobody": [],
}

TOOL = {"type": "function", "function": {
    "name": "weather", "description": "Says what it is like outside: <hot> & 'cold', \"é\"",
    "parameters": {"type": "object", "required": ["place"], "properties": {
        "place": {"type": "string"}, "days": {"type": "integer", "default": 1}, "scale": {"enum": ["C", "F"]},
        "hours": {"type": "array", "items": {"type": "number"}}, "exact": {"type": "boolean", "default": False}}},
    "return": {"type": "string"}}}
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich", "days": 2, "exact": None}}}]}
TOOL_TALK = say("Weather?") + [CALL, {"role": "tool", "content": "rain"}, {"role": "tool", "content": "cold"}]

# Single expressions and statements, over these variables.
VARIABLES = {"s": "  Straße ÉCOLE\n", "e": "", "n": 7, "m": -3, "f": 2.5, "t": True, "none_": None,
             "l": ["b", "a", 3, None, "é🙂"], "d": {"b": 1, "a": [1, {"x": "'"}], "items": 5}, "big": 10**17,
             "r": [{"a": 1, "k": "x"}, {"a": 2}, {"a": 0, "k": "y"}]}
SNIPPETS = [
    # text and white space
    "a\n{% if t %}\nb\n{% endif %}\nc\n", "a\n   {% if t %}   \n b {% endif %} \nc", " {{- n -}} x", "{{ n }}\n\n",
    "a {#- gone -#} b\n  {# line #}\nc", "{%+ if t %}x{% endif %}", "a\n  {%+ if t +%}\n  x{%- endif %}\n",
    "\r\na\r\n{{ 'x\r\ny' }}\r", "{{ '}}' }}{{ \"%}\" }}", "{{ {'a': {'b': n}}['a']['b'] }}", "{ {} } %} #} }}",
    "x\n\t{% set q = 1 %}\t\n\ty", "{{'a' 'b'\n'c'}}", "{%set q=1%}{%if q%}y{%endif%}", "{# a {{ b #}c",
    "\u2003{%- if t %}a\u2003{%- endif %}", "  {% if t %}a{% endif %}  {% if t %}b{% endif %}", "\n\n", "",
    # escapes and literals
    r"{{ 'a\n\t\\\'\"\x41\u00e9\U0001F642\101\q' }}", "{{ 1_000 }} {{ 1.5e3 }} {{ 2e-7 }} {{ 1e16 }} {{ 0.1 + 0.2 }}",
    "{{ [1, 'a', \"it's\", none, true, 1.0, (), (1,), (1, 2), {'k': 'v'}, 'é\n\u200b\"'] }}", "{{ true }} {{ None }} {{ 1, 2 }}",
    # arithmetic and comparison
    "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 6 / 3 }}",
    "{{ -7.5 // 2 }} {{ -7.5 % 2 }} {{ f * 2 }} {{ t + 1 }} {{ 'ab' * 3 }} {{ -n }} {{ +m }} {{ - -n }} {{ 7.0 % -7 }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ n >= 7 and m != -3 }} {{ true == 1 }} {{ none == false }}",
    "{{ 'a' ~ 1 ~ none ~ undefined_name ~ [1] }} {{ 'a' + 'b' ~ 'c' + 'd' }} {{ [1] + [2] }} {{ 1 ~ (2 + 3) }}", "{{ 1 ~ 2 + 3 }}",
    "{{ 'a' in 'cat' }} {{ 'x' not in l }} {{ 'b' in d }} {{ 3 in l }} {{ not 'b' in d }} {{ '' in '' }} {{ 1 in [true] }}",
    "{{ n or 'x' }} {{ e or 'x' }} {{ n and 'x' }} {{ not e }} {{ not n and 1 }} {{ 0 or none }} {{ [] and 1 }}",
    "{{ 'y' if t else 'n' }} {{ 'y' if e }} {{ 'a' if e else 'b' if e else 'c' }} {{ ('y' if e) is defined }}",
    "{{ [1, [2]] == [1, [2]] }} {{ (1,) == [1] }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1.0} }} {{ zz == yy }}",
    # access
    "{{ l[0] }} {{ l[-1] }} {{ l[9] }} {{ s[2] }} {{ s[-2] }} {{ d.b }} {{ d['a'][1].x }} {{ d['items'] }} {{ d.zz }} {{ d['zz'] }}",
    "{{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ l[::2] }} {{ l[-2:9] }} {{ s[2:5] }} {{ s[::-1] }} {{ 'abc'[5:] }} {{ l[3:1] }}",
    "{{ l[none:2] }} {{ l[-99:99:3] }} {{ l[99:-99:-2] }} {{ l.0 }} {{ l[true] }} {{ 'é🙂'[1] }} {{ n.zz }} {{ none_.zz }}",
    "{{ d.items is defined }} {{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 3) }} {{ d.keys()|list }} {{ d.values()|list|length }}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in 'é🙂' %}{{ c }}.{% endfor %}",
    # strings
    "[{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ s|trim }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'|trim('ab') }}]",
    "{{ s.upper() }}{{ s.lower() }}{{ s|upper }}{{ s|lower }}{{ 'éCOLE de'|capitalize }}{{ 'ab'.capitalize() }}{{ none|upper }}",
    "{{ 'a b  c '.split() }} {{ 'a b  c '.split(' ') }} {{ ' a b c '.split(none, 1) }} {{ 'a,b,c'.split(',', 1) }} {{ ''.split() }} {{ ''.split(',') }}",
    "{{ 'a\nb\r\nc\n'.splitlines() }} {{ ''.splitlines() }} {{ 'aXbX'.replace('X', '--') }} {{ 'aXbX'.replace('X', '', 1) }} {{ 'a1'|replace('1', 'b') }}",
    "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'aéa'.find('a') }} {{ 'aéa'.rfind('a') }} {{ 'abc'.find('z') }} {{ 'aaa'.count('a') }} {{ '-'.join(['a', 'b']) }}",
    # filters
    "{{ l|tojson }} {{ d|tojson }} {{ d|tojson(indent=2) }} {{ []|tojson(indent=2) }} {{ {}|tojson(indent=1) }} {{ f|tojson }} {{ 1e16|tojson }}",
    "{{ 'é🙂\u007f\"\\\\/\n\t\x01<&>'|tojson }} {{ 'é🙂\u007f'|tojson(ensure_ascii=true) }} {{ d|tojson(separators=(',', ':')) }} {{ d|tojson(sort_keys=true) }}",
    "{{ d|tojson(indent=0) }} {{ {'a': [1, {}]}|tojson(indent=4, separators=(', ', ' : ')) }}",
    "{{ l|length }} {{ s|length }} {{ d|count }} {{ zz|length }} {{ 'é🙂'|length }}",
    "{{ '7'|int + 1 }} {{ ' -12 '|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ 3.9|int }} {{ '3.9'|int }} {{ '2.5'|float }} {{ 'x'|float }} {{ n|float }} {{ n|string + 'x' }} {{ -3.9|int }}",
    "{{ l|first }} {{ l|last }} {{ []|first }} {{ 'abc'|last }} {{ [1, 2, 3]|join }} {{ l|join(', ') }} {{ r|join('-', attribute='a') }} {{ 'abc'|join('.') }}",
    "{{ zz|default('d') }} {{ e|default('d') }} {{ e|default('d', true) }} {{ none|default('d') }} {{ zz|d }} {{ zz.q|default(1) if zz else 'no' }}",
    "{{ 'abc'|list }} {{ d|list }} {{ l|reverse|list }} {{ 'abc'|reverse }} {{ d|items|list }} {{ zz|items|list }} {{ range(3)|list }} {{ range(5, 1, -2)|list }} {{ range(2, 4)|list }}",
    "{{ r|selectattr('k', 'defined')|list }} {{ r|rejectattr('a')|list }} {{ r|selectattr('a', 'equalto', 2)|list }} {{ r|selectattr('a', '>', 0)|map(attribute='a')|list }}",
    "{{ r|map(attribute='k', default='-')|join(',') }} {{ ['a', 'b']|map('upper')|join }} {{ ['a1']|map('replace', '1', '2')|first }} {{ l|select('string')|list }} {{ l|reject('none')|list }} {{ [0, 1]|select|list }}",
    "{{ -1|string }} {{ 'a' + 1|string }} {{ (1, 2)|last }} {{ 'a'|safe }} {{ not e|length }}",
    # tests
    "{{ s is string }} {{ l is sequence }} {{ d is mapping }} {{ n is number }} {{ t is number }} {{ t is boolean }} {{ n is integer }} {{ t is integer }} {{ f is float }} {{ none_ is none }} {{ zz is undefined }}",
    "{{ s is iterable }} {{ n is iterable }} {{ zz is iterable }} {{ d is sequence }} {{ none_ is not none }} {{ n is not defined }} {{ not n is defined }} {{ t is true }} {{ n is true }} {{ false is false }}",
    "{{ n is odd }} {{ n is even }} {{ n is divisibleby 7 }} {{ n is divisibleby(2) }} {{ n is equalto 7 }} {{ n is eq(7) }} {{ n is in [7] }} {{ n is gt 3 and n is lt 9 }} {{ range is callable }}",
    # statements
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (x) = 3 %}{{ x }}{% set q = 1, %}{{ q }}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}{% if t %}{% set x = 9 %}{% endif %}{{ x }}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% for i in range(9) if i is odd %}{% if i == 5 %}{% continue %}{% endif %}{% if loop.index > 3 %}{% break %}{% endif %}{{ i }}/{{ loop.length }} {% else %}none{% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %}{% for i in zz %}x{% else %}empty{% endfor %}{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.last }}{% endfor %}{% for i in 1, 2 %}{{ i }}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% set ns.b = i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns['a'] }}{% set o = namespace({'x': 2}, y=3) %}{{ o.x + o.y }}",
    "{% macro m(a, b='x', c=a) %}[{{ a }}{{ b }}{{ c }}{{ l|length }}]{% endmacro %}{{ m(1) }}{{ m(1, c=3) }}{{ m() }}{{ m(zz, zz) }}{{ m(b=2)|length }}",
    "{% set v = 1 %}{% macro m() %}{{ v }}{{ i }}{{ loop }}{% endmacro %}{% for i in [5] %}{{ m() }}{% endfor %}{% set v = 2 %}{{ m() }}",
    "{% macro down(k) %}{{ k }}{% if k > 0 %}{{ down(k - 1) }}{% endif %}{% endmacro %}{{ down(5) }}",
    "{% set x %}a {{ n }}\n{% set inner = 1 %}{% endset %}{{ x }}{{ x|length }}{{ inner }}", "{{ dict(a=1, b=none) }} {{ dict() }} {{ zz }}",
    "{% for m in r %}{% generation %}{{ m.a }}{% set g = 1 %}{% endgeneration %}{{ g }}{% endfor %}", "{{ strftime_now('%%') }} {{ strftime_now('%Y')|length }}",
    "{% if e %}1{% elif zz %}2{% elif t %}3{% else %}4{% endif %}{% if e %}{% endif %}", "{% if n > 5 and (l|length == 5 or zz.y) %}y{% endif %}",
    # refused
    "{{ zz.y }}", "{{ zz + 'x' }}", "{{ zz() }}", "{{ none_[1:] }}", "{{ 'a' + 1 }}", "{{ 1 + none }}", "{{ 1 / 0 }}", "{{ 1 % 0 }}",
    "{{ 'a' < 1 }}", "{{ raise_exception('no') }}", "{% for x in 5 %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{{ 1 in none }}",
    "{{ l.append(1) }}", "{{ d.update({}) }}", "{{ 'a'|nofilter }}", "{{ 'a' is notest }}", "{{ 'a'.nomethod() }}", "{% nostatement %}",
    "{% if %}", "{% if t %}", "{% endif %}", "{{", "{{ }}", "{{ 'a }}", "{# a", "{{ (1 }}", "{{ 1) }}", "{{ a b }}", "{{ l[ }}", "{% set 1 = 2 %}",
    "{% for x in l %}{% endif %}", "{{ range(1000000) }}", "{{ 'a'.split('') }}", "{{ zz|tojson }}", "{% set s.x = 1 %}", "{{ {'a': 1}|first.b() }}",
    "{% break %}", "{{ trim() }}", "{{ 'a'|trim(1, 2, 3) }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(q=1) }}",
    "{{ 5|length }}", "{{ '\\u12' }}", "{{ 5 | join }}",
]


# Every filter on values of every kind, undefined and none among them.
FILTERS = ("abs batch(2) capitalize center count default dictsort e filesizeformat first float format groupby('x') indent int items join last length "
           "list lower map('upper') map(attribute='x') max min reject rejectattr('x') replace('a','b') reverse round safe select selectattr('x') "
           "slice(2) sort string striptags sum title tojson trim unique upper urlencode wordcount xmlattr").split()
SUBJECTS = ["zz", "none_", "e", "[]", "{}", "0", "1.5", "false", "'aB <c>'", "[3, 1, 2]"]
SNIPPETS += ["{{ %s|%s|list }}" % (subject, name) for name in FILTERS for subject in SUBJECTS]
SNIPPETS += ["{{ %s|%s is string }}{{ %s|%s is sequence }}{{ not %s|%s }}" % ((subject, name) * 3) for name in FILTERS
             for subject in ("zz", "[1]")]
SNIPPETS += [
    '{{ 2 ** 3 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 2.0 ** 0.5 }} {{ 2 ** 3 ** 2 }}',
    "{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ '\\N{EM DASH}' }} {{ é }}|{% set é = 1 %}{{ é }}",
    '{% raw %}{{ a }} {% b %}{% endraw %}x',
    'a\n  {% raw %}\n {{ x }}\n  {% endraw %}\nb',
    '{%- raw -%}  {{ x }}  {%- endraw -%}  y',
    '{% raw %}{% endraw %}{% raw %} {% endraw %}',
    "{{ range(*[1, 4])|list }} {{ dict(**{'a': 1}) }} {{ dict([('x', 1), (2, 3)], y=2) }} {{ dict({'a': 1}, a=2) }}",
    '{{ range(3) }} {{ range(1, 9, 3) }} {{ range(9)[2:5] }} {{ range(9)[::-2] }} {{ range(3)[1] }} {{ range(3)|length }} {{ 2 in range(3) }} {{ range(3) == range(0, 3) }} {{ range(0) == [] }}',
    "{{ d.keys() }} {{ d.values() }} {{ d.items() }} {{ d.keys()|length }} {{ 'a' in d.keys() }} {{ d.items()|first }} {{ d.keys()|last }} {{ d.keys()[0] }} {{ d.keys() == d.keys() }}",
    '{{ d.keys()|tojson }}',
    '{{ range(3)|tojson }}',
    '{{ (1, 2)|tojson }} {{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }}',
    "{{ {'b': 1, 'a': 2}|tojson(sort_keys=true, indent='--') }}",
    "{{ {(1,2): 3} }}{{ {(1,2): 3}[(1,2)] }}{{ {1: 'x'}[1.0] }}{{ {true: 'x'}[1] }}",
    '{{ {[1]: 2} }}',
    '{{ {(1,): 3}|tojson }}',
    "{% set g = r|selectattr('k') %}{{ g|length }}",
    "{% set g = r|selectattr('k') %}{{ g|list }}{{ g|list }}",
    "{% set g = []|select %}{{ 'y' if g else 'n' }}",
    '{% set g = [1,2,3]|select %}{{ g|first }}{{ g|first }}{{ g|list }}',
    "{{ ([1]|map('nofilter')) is defined }}",
    "{{ [1]|map('nofilter')|list }}",
    '{{ [1,2]|select|last }}',
    '{{ ([1,2]|select)[0] }}|',
    '{{ 2 in [1,2,3]|select }}',
    "{{ [1,2,3]|reverse|first }}{{ 'abc'|reverse }}{{ [1,2]|select|reverse }}{{ {'a': 1, 'b': 2}|reverse|list }}",
    "{{ '<a>'|safe + '<b>' }} {{ '<b>' + '<a>'|safe }} {{ '<a>'|safe ~ '<b>' }} {{ ['<a>'|safe] }} {{ '<a>'|e }} {{ '<a>'|e|e }} {{ ('<a>'|safe)|upper + '<' }} {{ '%s <'|safe|format('<') }} {{ '%s'|safe % '<' }} {{ '{}'|safe }}",
    "{{ ('<a>'|safe).format('<') }}{{ ('{}'|safe).format('<') }}{{ '<'|safe is escaped }}{{ ('<'|safe) * 2 + '<' }}{{ ('<,'|safe).join(['<', '<'|safe]) }}{{ ('a<b'|safe).split('<')[0] + '<' }}{{ ('<'|safe).replace('<', '>') }}{{ ('ab'|safe)[0] + '<' }}{{ '<'|safe == '<' }}{{ {'<': 1}['<'|safe] }}{{ ('<'|safe)|tojson }}{{ '<'|safe|string + '<' }}{{ ['a','b']|join('<'|safe) + '<' }}{{ 'a'|safe|trim + '<' }}{{ ('a\nb'|safe)|indent + '<' }}",
    '{% call m() %}x{% endcall %}',
    '{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{{ n }}{% endcall %}',
    '{% macro m(l) %}{% for i in l %}{{ caller(i, loop.index) }}{% endfor %}{% endmacro %}{% call(a, b=2) m([5, 6]) %}({{ a }}{{ b }}){% endcall %}',
    '{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}',
    '{% macro m() %}{{ caller is defined }}{{ caller }}{% endmacro %}{{ m() }}',
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}{{ m() }}{{ m(*[1, 2], **{'q': 3}) }}",
    '{% macro m(a) %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_varargs }}{{ m.catch_kwargs }}{{ m.caller }}{{ m }}',
    "{% macro m(a, a2=a ~ 1) %}{{ a2 }}{% endmacro %}{{ m('x') }}{{ m(a='y') }}",
    '{% macro m(caller) %}{{ caller }}{% endmacro %}{{ m(3) }}',
    '{% for i in [1, 2] %}{% macro m(x) %}{{ i }}{{ x }}{% endmacro %}{{ m(3) }}{% endfor %}',
    '{% macro a() %}{% macro b(x) %}<{{ x }}{{ n }}>{% endmacro %}{{ b(1) }}{% endmacro %}{{ a() }}',
    '{% if t %}{% macro q() %}in if{% endmacro %}{% endif %}{{ q() }}',
    '{% filter upper %}a{{ n }}b{% endfilter %}',
    "{% filter replace('a', 'b')|upper %}a{% filter trim %}  aa {% endfilter %}{% endfilter %}",
    "{% set x | upper | replace('A', 'q') %}aab{% endset %}{{ x }}",
    '{% set x | trim %} a {% endset %}[{{ x }}]',
    '{% with a = 1, b = n %}{{ a }}{{ b }}{% set c = 3 %}{{ c }}{% endwith %}{{ a }}{{ c }}',
    '{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}',
    '{% with a, b = (1, 2) %}{{ a }}{{ b }}{% endwith %}',
    '{% with n = 1, y = n %}{{ n }}{{ y }}{% endwith %}',
    '{% block b %}x{{ n }}{% endblock %}',
    '{% block b %}{% set z = 1 %}{{ z }}{% endblock b %}{{ z }}',
    '{% set z = 2 %}{% block b %}{{ z }}{% endblock %}',
    '{% for i in [1] %}{% block b %}[{{ i }}]{% endblock %}{% endfor %}',
    '{% for i in [1] %}{% block b scoped %}[{{ i }}]{% endblock %}{% endfor %}',
    '{% block b %}{% endblock %}{% block b %}{% endblock %}',
    '{% do n %}',
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    '{% for x in [1, [2, [3, 4]], 5] recursive %}{% if x is iterable %}<{{ loop(x) }}>{% else %}{{ x }}:{{ loop.depth }}{{ loop.depth0 }}{{ loop.index }}{% if not loop.last %},{% endif %}{% endif %}{% endfor %}',
    '{% for x in [1] %}{{ loop([1]) }}{% endfor %}',
    "{% for x in [{'c': [{'c': []}]}, {'c': []}] recursive %}({{ loop.index }}{{ loop(x.c) if x.c }}){% else %}none{% endfor %}",
    "{% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }}{{ loop.cycle('a', 'b') }}{{ loop['index'] }}{{ loop }}{% endfor %}",
    "{% for i in r|selectattr('k') %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{{ loop.nextitem }}{{ loop.revindex }}{% endfor %}",
    '{% set ns = namespace(stop=false) %}{% for i in [1, 2, 3] if not ns.stop %}{{ i }}{% if i == 2 %}{% set ns.stop = true %}{% endif %}{% endfor %}',
    '{% set ns = namespace(stop=false) %}{% for i in [1, 2, 3] if not ns.stop %}{{ i }}{{ loop.last }}{% if i == 2 %}{% set ns.stop = true %}{% endif %}{% endfor %}',
    '{% for i in [] %}{% else %}{% set w = 1 %}{{ w }}{% endfor %}{{ w }}',
    '{% for i, (a, b) in [(1, (2, 3))] %}{{ i }}{{ a }}{{ b }}{% endfor %}',
    "{% for k, v in {'a': 1, 2: 3}.items() %}{{ k }}{{ v }}{% endfor %}",
    '{% for a in [1] %}{% for b in [2] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}{{ loop is defined }}',
    '{% for a in [1,2,3] %}{% for b in [1] %}{% break %}{% else %}e{% endfor %}{% if loop.first %}{% continue %}{% endif %}{{ a }}{% endfor %}',
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.current }}{% set j = joiner('; ') %}{{ j() }}{{ j() }}{{ j is callable }}{{ c is callable }}",
    '{% set ns = namespace() %}{% set ns._x = 1 %}',
    '{{ namespace(_a=1) }}',
    "{% set ns = namespace({'a': 1}) %}{{ ns.a }}{{ ns['b'] is defined }}",
    '{% set a, ns.b = 1, 2 %}',
    '{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}',
    "{{ zz is callable }}{{ zz is sequence }}{{ zz is mapping }}{{ r is sameas r }}{{ 1 is sameas true }}{{ none is sameas none_ }}{{ 'upper' is filter }}{{ 'nope' is filter }}{{ 'odd' is test }}{{ 'a' is lower }}{{ 'aB' is lower }}{{ 'A1' is upper }}{{ 1 is lower }}{{ n is number }}{{ range is callable }}{{ range(3) is iterable }}{{ range(3) is sequence }}{{ d.keys() is sequence }}{{ d.items() is iterable }}{{ 1 is not iterable }}{{ t is in [1] }}",
    '{{ n is divisibleby 7 and t }}',
    '{{ 1 is odd is even }}',
    '{{ s is undefined or n }}',
    '{{ s.title() }}|{{ s|title }}|{{ "it\'s a-b (c) [d] x_y"|title }}|{{ "it\'s a-b x1y".title() }}',
    "{{ 'a b c d'.rsplit(' ', 2) }}{{ ' a  b '.rsplit(none, 1) }}{{ 'aXbXc'.rsplit('X') }}{{ 'a b'.split(maxsplit=0) }}{{ ' a b '.split(none, 0) }}",
    "{{ 'abc'.partition('x') }}{{ 'abc'.rpartition('x') }}{{ 'abcb'.rpartition('b') }}",
    "{{ '5'.zfill(3) }}{{ '-5'.zfill(4) }}{{ '+5'.zfill(1) }}{{ ''.zfill(2) }}{{ 'ab'.center(5) }}|{{ 'abc'.center(6, '*') }}{{ 'ab'.center(7, '*') }}{{ 'é'.ljust(3, '.') }}{{ 'é'.rjust(3, '.') }}",
    "{{ 'abc'.find('') }}{{ 'abc'.rfind('') }}{{ 'abc'.count('') }}{{ 'abc'.replace('', '-') }}{{ 'abc'.replace('', '-', 2) }}{{ 'abc'.find('c', -1) }}{{ 'abc'.find('a', 1) }}{{ 'abc'.find('', 9) }}{{ 'éaéa'.find('a', 2) }}{{ 'éaéa'.rfind('a', 0, 3) }}{{ 'abab'.count('ab', 1) }}{{ 'abc'.startswith('b', 1) }}{{ 'abc'.endswith('b', 0, 2) }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.index('c') }}",
    "{{ 'abc'.index('x') }}",
    "{{ 'abc'.startswith(['a']) }}",
    "{{ 'a\\x0bb\\x0cc\\x1cd\\x85e\\u2028f\\r\\ng'.splitlines() }}{{ 'a\\n\\nb\\n'.splitlines(true) }}",
    "{{ 'aB'.swapcase() }}{{ 'ß'.casefold() }}{{ 'a\\tb\\tcc'.expandtabs(4) }}{{ 'a\\tb'.expandtabs() }}{{ '\\t|a\\n\\tb'.expandtabs(3) }}",
    "{{ 'a1'.isalnum() }}{{ ''.isalnum() }}{{ '½'.isnumeric() }}{{ '½'.isdigit() }}{{ '²'.isdigit() }}{{ '²'.isdecimal() }}{{ '四'.isnumeric() }}{{ 'Ab Cd'.istitle() }}{{ 'aB'.istitle() }}{{ 'a_1'.isidentifier() }}{{ '1a'.isidentifier() }}{{ 'é'.isascii() }}{{ ''.isascii() }}{{ 'a\\n'.isprintable() }}{{ ''.isprintable() }}{{ ' '.isspace() }}{{ ''.isspace() }}{{ 'A1'.isupper() }}{{ '1'.isupper() }}",
    '{{ \'abc\'.translate({97: \'x\', 98: none, 99: 100}) }}{{ \'é\'.encode() }}{{ \'é\'.encode()|list }}{{ \'é\'.encode().decode() }}{{ \'a\\\'"\\n\'.encode() }}',
    "{{ 'x'.removeprefix('x') }}|{{ 'xy'.removesuffix('y') }}{{ 'xy'.removesuffix('') }}",
    "{{ '%s|%d|%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%c|%c|%%|%r|%5s|%-5s|%.2s' % ('a', 3, 3, 3, 3, 3, 3, 255, 255, 255, 8, 65, 'z', 'q', 'a', 'a', 'abc') }}",
    "{{ '%(a)s %(b)d' % {'a': 1, 'b': 2} }}{{ '%s' % none }}{{ '%s' % [1] }}{{ '%s' % {'a': 1} }}{{ '%d' % 3.9 }}{{ '%i' % true }}{{ '%*d' % (5, 3) }}{{ '%.*f' % (1, 2.55) }}{{ '%.3d' % 5 }}{{ '%-6.3d|' % -5 }}{{ '%s %s' % ('a', 1) }}{{ 'x' % () }}{{ 'x' % [] }}{{ 'x' % {} }}",
    "{{ '%s %s' % 'a' }}",
    "{{ '%s' % (1, 2) }}",
    "{{ '%d' % 'a' }}",
    "{{ '%q' % 1 }}",
    "{{ '%' % 1 }}",
    "{{ 'x' % 1 }}",
    "{{ '%s'|format(1) }}{{ '%(a)s'|format(a=1) }}{{ 'x'|format }}",
    "{{ '%x' % 1.5 }}",
    "{{ '%x' % -255 }}{{ '%#o' % 8 }}{{ '%5.1f%%' % 99.5 }}",
    "{{ '{} {}'.format(1, 'a') }}{{ '{1}{0}'.format(1, 2) }}{{ '{a}{b.x}{c[0]}{c[k]}'.format(a=1, b={'x': 2}, c=[3]) }}",
    "{{ '{0[0]}{0[-1]}'.format('ab') }}",
    "{{ '{a[k]}{0.x}'.format({'x': 5}, a={'k': 9}) }}{{ '{{}}{}'.format(1) }}{{ '{!r}{!s}'.format('a', 'b') }}",
    "{{ '[{:5}][{:<5}][{:>5}][{:^5}][{:*^5}][{:.2}]'.format('a', 'a', 'a', 'a', 'a', 'abc') }}",
    "{{ '[{:5d}][{:=+6}][{:X}][{:o}][{:#b}]'.format(1, 5, 255, 8, 5) }}",
    "{{ '{:.2f} {:10.3f}|{:<10.1f}|{:+.2f} {:,.2f} {:g} {:.3g} {:.0f} {} {:.3} {:10} {:%}'.format(3.14159, 2.5, 1.25, 2.0, 12345.678, 1e-5, 1234.5, 2.5, 1e16, 123.456, 1.5, 0.25) }}",
    "{{ '{:>{w}}|{:{a}{w}}'.format('x', 'y', w=4, a='^') }}{{ '{:d}{}{:5}'.format(true, true, true) }}{{ '{}'.format(none) }}{{ '{}'.format([1]) }}{{ '{}'.format(zz) }}",
    "{{ '{'.format(1) }}",
    "{{ '}'.format(1) }}",
    "{{ '{}{}'.format(1) }}",
    "{{ '{x}'.format() }}",
    "{{ '{:d}'.format('a') }}",
    "{{ '{:z}'.format(1) }}",
    "{{ '{:5}'.format(none) }}",
    "{{ '{:.3}|{:.3}|{:.3}|{:.1}|{:.4}'.format(3.0, 123.0, 1234.5, 0.0001, 100.0) }}",
    "{{ 2.5|round }}{{ 3.5|round }}{{ 2.675|round(2) }}{{ 7|round }}{{ 7|round(1) }}{{ 1234|round(-2) }}{{ 1250.0|round(-2) }}{{ 2.1|round(0, 'ceil') }}{{ -2.1|round(method='floor') }}{{ 2.15|round(1, 'ceil') }}{{ 7|round(0, 'floor') }}{{ true|round }}{{ 0.5|round }}{{ 1e20|round }}{{ 1.005|round(2) }}{{ 1e300|round(2) }}",
    "{{ 1|round(1, 'up') }}",
    "{{ '0x1F'|int(base=16) }}{{ '0b11'|int(base=0) }}{{ 'zz'|int(base=36) }}{{ '1_000'|int }}{{ '1__0'|int(-1) }}{{ '+5'|int }}{{ '--5'|int(9) }}{{ 'inf'|int(3) }}{{ 'nan'|int(4) }}{{ '1e3'|int }}{{ '-0x1f'|int(0, 16) }}{{ ' 7 '|float }}{{ 'inf'|float }}{{ '-nan'|float }}{{ '1_0.5'|float }}{{ '1e5'|float }}{{ none|float(2) }}{{ []|int }}{{ true|int }}{{ true|float }}",
    '{{ zz|int }}',
    '{{ zz|float }}',
    "{{ zz|default(yy) is defined }}{{ zz|default(none) }}{{ none|default('x', boolean=true) }}",
    "{{ 1|filesizeformat }}|{{ 999|filesizeformat }}|{{ 1000|filesizeformat }}|{{ 1500000|filesizeformat }}|{{ 1024|filesizeformat(true) }}|{{ 123456789|filesizeformat(true) }}|{{ '5'|filesizeformat }}|{{ 2.5e30|filesizeformat }}",
    "{{ 'a b c d e f g h'|truncate(8) }}|{{ 'a b c d e f g h'|truncate(8, true) }}|{{ 'abcdefghijklmnop'|truncate(8, leeway=0) }}|{{ 'abc def ghi jkl'|truncate(9, false, '…', 0) }}|{{ 'abcdefghijkl'|truncate(8) }}",
    "{{ 'a'|truncate(2) }}",
    "{{ 'a_b c-d é 1'|wordcount }}{{ ''|wordcount }}{{ 5|wordcount }}",
    "{{ 'a b/c?é&=+~'|urlencode }}|{{ {'a b': 'c/d', 'e': 1}|urlencode }}|{{ [('x', 'y z')]|urlencode }}|{{ 5|urlencode }}",
    "{{ {'class': 'a<b', 'x': none, 'y': 1}|xmlattr }}|{{ {'a': 1}|xmlattr(false) }}|{{ {}|xmlattr }}",
    "{{ {'a b': 1}|xmlattr }}",
    "{{ '<b>x &amp; y</b> <!-- c --> z  w'|striptags }}|{{ 'a < b > c'|striptags }}|{{ '&lt;b&gt; &#65; &#x42; & b'|striptags }}",
    "{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb\n\nc'|indent(2, true, true) }}|{{ 'a\n'|indent }}|{{ ''|indent }}|{{ 'a\nb'|indent('>>') }}",
    "{{ l|pprint }}{{ 'x'|pprint }}{{ 5|pprint }}",
    "{{ 'a-b'|center(9) }}|{{ 5|center(4) }}|",
    "{{ [3, 1, 2]|sort }}{{ ['b', 'A', 'c', 'a']|sort }}{{ ['b', 'A']|sort(case_sensitive=true) }}{{ r|sort(attribute='a')|map(attribute='a')|list }}{{ [[2, 1], [1, 2]]|sort }}{{ [(1, 'b'), (1, 'a')]|sort }}{{ [true, false]|sort }}{{ [1.5, 1]|sort }}{{ 'hello'|sort }}{{ {'b': 1, 'a': 2}|sort }}",
    "{{ [{'a': 1, 'b': 2}, {'a': 1, 'b': 1}, {'a': 0, 'b': 9}]|sort(attribute='a,b') }}{{ [{'a': 1, 'b': 2}, {'a': 1, 'b': 1}]|sort(attribute='a') }}{{ [{'a': 1, 'b': 2}, {'a': 1, 'b': 1}]|sort(true, attribute='a') }}",
    "{{ [1, 'a']|sort }}",
    '{{ [none, 1]|sort }}',
    '{{ [none, none]|sort }}',
    "{{ r|sort(attribute='k') }}",
    '{{ [{}, {}]|sort }}',
    "{{ ['a', 'A', 'b', 'a']|unique|list }}{{ ['a', 'A']|unique(true)|list }}{{ [1, 1.0, true, 2]|unique|list }}{{ r|unique(attribute='k')|list }}",
    '{{ [[1], [1]]|unique|list }}',
    "{{ ['b', 'A']|min }}{{ ['b', 'A']|max }}{{ [3, 1.5]|min }}{{ r|max(attribute='a') }}{{ []|min }}|{{ ['b', 'A']|min(true) }}{{ [1, 1.0]|max }}{{ 'hello'|max }}",
    "{{ [1, 'a']|max }}",
    "{{ [1, 2.5]|sum }}{{ []|sum }}{{ [[1], [2]]|sum(start=[]) }}{{ r|sum('a') }}{{ [true, true]|sum }}{{ {1: 2, 3: 4}|sum }}",
    "{{ ['a']|sum }}",
    "{{ ['a']|sum(start='') }}",
    "{% for g in r|groupby('k', default='none') %}{{ g.grouper }}:{{ g.list|length }}{{ g[0] }}{{ g|length }};{% endfor %}{{ [{'k': 'A'}, {'k': 'a'}, {'k': 'b'}]|groupby('k') }}{{ [{'k': 'A'}, {'k': 'a'}]|groupby('k', case_sensitive=true) }}{{ [[1, 2], [1, 3]]|groupby(0) }}",
    "{{ r|groupby('k') }}",
    "{{ [1,2,3,4,5]|batch(2)|list }}{{ [1,2,3]|batch(2, 0)|list }}{{ [1,2,3]|batch(2, none)|list }}{{ []|batch(2, 1)|list }}{{ [1,2,3,4,5]|slice(2)|list }}{{ [1,2,3,4,5]|slice(3, 'x')|list }}{{ [1]|slice(3)|list }}",
    "{{ {'b': 1, 'A': 2}|dictsort }}{{ {'b': 1, 'A': 2}|dictsort(true) }}{{ {'b': 1, 'A': 2}|dictsort(by='value', reverse=true) }}{{ {2: 'x', 1: 'y'}|dictsort }}",
    "{{ {1: 2, 'a': 3}|dictsort }}",
    "{{ {'a': 1}|dictsort(by='x') }}",
    '{{ zz|dictsort }}',
    "{{ r|map(attribute='k', default='-')|list }}{{ r|map(attribute='k')|list }}{{ [[1, 2]]|map(attribute=0)|list }}{{ [[1, 2]]|map(attribute='1')|list }}{{ [{'a': {'b': 1}}]|map(attribute='a.b')|list }}{{ ['a', 'b']|map('replace', 'a', 'x')|list }}{{ [1.234]|map('round', 1)|list }}{{ [1.234]|map('round', precision=2)|list }}{{ ['a']|map('default', 'x')|list }}",
    "{{ r|selectattr('a', 'in', [1, 2])|map(attribute='a')|list }}{{ r|selectattr('k', 'undefined')|list }}{{ [1, 2, 3]|select('gt', 1)|list }}{{ [1, 2, 3]|reject('divisibleby', 2)|list }}{{ ['a', 1]|select('string')|list }}",
    '{{ r|selectattr|list }}',
    '{{ r|map|list }}',
    "{{ [1]|select('nope')|list }}",
    "{{ [1] * 2 }}{{ 2 * (1,) }}{{ 3 * 'a' }}{{ 'a' * -1 }}{{ [] * 5 }}{{ (1,) + (2,) }}",
    '{{ [1] + (1,) }}',
    "{{ [1] < [1, 0] }}{{ [1, 2] < [1, 3] }}{{ (1, 2) >= (1, 2) }}{{ 'a' < 'B' }}{{ [1] == (1,) }}{{ [] < [1] }}",
    '{{ [1] < (2,) }}',
    "{{ [1] < ['a'] }}",
    '{{ none < 1 }}',
    '{{ {} < {} }}',
    "{{ d.copy() }}{{ l.copy() }}{{ l.index(3) }}{{ l.count('a') }}{{ (1, 2, 1).count(1) }}{{ (1, 2).index(2) }}{{ d.get(1) }}{{ {1: 2}.get(1) }}{{ {1: 2}.get(true) }}{{ d.get('q', zz) is defined }}",
    "{{ l.index('zz') }}",
    "{{ l.append }}|{{ d.pop }}|{{ d.update }}|{{ {'pop': 1}.pop }}|{{ {'pop': 1}['pop'] }}|{{ {'copy': 1}.copy is callable }}|{{ s.__class__ }}|{{ l._x }}",
    "{{ d.pop('a') }}",
    '{{ l.sort() }}',
    "{{ d.setdefault('q', 1) }}",
    '{{ (5).real }}{{ 2.5.is_integer() }}{{ (5).bit_length() }}{{ n.numerator }}{{ n.foo }}|{{ t.real }}',
    "{{ s|attr('nope') is defined }}{{ d|attr('b') is defined }}{{ ' x '|attr('strip') is callable }}",
    "{{ zz|attr('a') }}",
    "{{ l[1.0] }}|{{ l['a'] }}|{{ l[none] }}|{{ l[zz] }}|{{ d[zz] }}|{{ d[[1]] }}|{{ n[0] }}|{{ 'ab'['upper']() }}",
    '{{ l[zz:] }}',
    "{{ l['a':] }}",
    '{{ d[1:] }}',
    "{{ [[1, 2], {'a': (1,)}, 'x', 1.0, none, true, zz] }}",
    "{{ {'a': zz} }}{{ (zz,) }}",
    "{{ {'a': zz}|tojson }}",
    '{{ 1e400 }}{{ -1e400 }}',
    '{{ (1e400 - 1e400)|string }}{{ [1e400]|tojson }}',
    '{{ 7 // 0.0 }}',
    '{{ 7.5 // 2 }}{{ -7.5 // 2 }}{{ 5 % 3.5 }}{{ 1e17 // 1 }}',
    "{{ 'a' 'b' }}{{ ('a'\n'b') }}",
    '{% if not zz %}a{% endif %}{% if zz == yy %}b{% endif %}{% if zz != 1 %}c{% endif %}{{ zz in [1] }}{{ zz in [yy] }}',
    '{{ zz in none }}',
    '{{ 1 if zz }}{{ (1 if zz) is undefined }}',
    '{{ caller }}{{ varargs }}{{ kwargs }}',
    '{{ loop }}',
    "{{ (1, 2, 3)[1:] }}{{ (1,)[5:] }}{{ 'abc'[::2] }}{{ [1,2,3][-1:] }}",
    "{{ 'a'.join('bcd') }}{{ ','.join(d) }}{{ ','.join(['a']|map('upper')) }}",
    "{{ ','.join([1]) }}",
    "{{ [1, 2]|join(attribute='real') }}{{ r|join(', ', attribute='a') }}{{ [none, 1]|join('-') }}",
    "{{ 'ab'|first }}{{ 'ab'|last }}{{ d|first }}{{ d|last }}{{ range(3)|last }}",
    '{{ 5|first }}',
    '{{ s|length }}{{ d|length }}{{ range(4)|length }}',
    '{{ none|length }}',
    "{{ ([1]|map('upper'))|length }}",
    "{{ {'a': 1, **{'b': 2}} }}",
    '{{ [*l] }}',
    '{{ x := 1 }}',
    '{{ a.b.c }}',
    '{{ d.zz.y }}',
    "{{ d.a[1].x }}{{ d['a'][0] }}{{ d.a.0 }}",
]



def outcome(template, variables):
    variables = dict(variables)
    try:
        text = render_jinja_template([variables.pop("messages", [])], chat_template=template, **variables)[0][0]
    except Exception as error:
        return {"refused": type(error).__name__}
    return {"refused": "address"} if " at 0x" in text else {"expected": text}


TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
conversations = {name: {"messages": messages, "tools": None} for name, messages in CONVERSATIONS.items()}
conversations["tools"] = {"messages": TOOL_TALK, "tools": [TOOL, TOOL], "enable_thinking": False}
conversations["tools at hand"] = {"messages": SYSTEM + say("Hello"), "tools": [TOOL]}
chats = []
for style, template in STYLES.items():
    for name, conversation in conversations.items():
        for prompt in (False, True):
            result = outcome(template, conversation | TOKENS | {"add_generation_prompt": prompt})
            chats.append({"style": style, "conversation": name, "add_generation_prompt": prompt} | result)
snippets = [{"template": snippet} | outcome(snippet, VARIABLES) for snippet in SNIPPETS]

goldens = {"styles": STYLES, "conversations": conversations, "tokens": TOKENS, "chats": chats, "variables": VARIABLES,
           "snippets": snippets}
path = pathlib.Path(__file__).with_name("chat_templates.json")
path.write_text(json.dumps(goldens, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
print(f"{len(chats)} chats, {len(snippets)} snippets")
