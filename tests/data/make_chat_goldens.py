"""Writes chat_templates.json: what Transformers makes of conversations with chat templates.

Usage: python make_chat_goldens.py        (transformers, jinja2)

The templates are our own wording of the styles that published models use. `chats` is every style with every
conversation, with and without add_generation_prompt; `snippets` are small templates over `variables`. Each holds either
`expected`, the text, or `refused`, the kind of error.
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



def outcome(template, variables):
    variables = dict(variables)
    try:
        text = render_jinja_template([variables.pop("messages", [])], chat_template=template, **variables)[0][0]
    except Exception as error:
        return {"refused": type(error).__name__}
    return {"expected": text}


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
