use jiff::civil::date;
use jiff::tz::TimeZone;
use serde_json::json;

use super::*;

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn template(text: &str) -> ChatTemplate {
    let config = json!({
        "bos_token": "<s>", "eos_token": {"content": "</s>", "special": true}, "unk_token": null,
        "chat_template": text,
    });
    let directory = directory(&[("tokenizer_config.json", &config.to_string())]);
    ChatTemplate::from_dir(directory.path()).unwrap()
}

fn conversation(messages: &[Json]) -> Conversation<'_> {
    Conversation {
        now: date(2026, 7, 5)
            .at(1, 2, 3, 0)
            .to_zoned(TimeZone::UTC)
            .unwrap(),
        ..Conversation::new(messages)
    }
}

fn check(text: &str, messages: &Json, expected: &str) {
    let rendered = template(text).render(&conversation(messages.as_array().unwrap()));
    assert_eq!(rendered.unwrap(), expected);
}

fn check_error(text: &str, messages: &Json, expected: &str) {
    let rendered = template(text).render(&conversation(messages.as_array().unwrap()));
    let error = rendered.unwrap_err();
    assert_eq!(error.kind(), tandem_protocol::ErrorKind::InvalidRequest);
    assert_eq!(
        error.to_string(),
        format!("failed to apply chat template: {expected}")
    );
}

fn weather() -> Vec<Json> {
    vec![
        json!({"type": "function", "function": {"name": "weather", "description": "It's <hot>?",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}),
    ]
}

/// In the style of ChatML.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

#[test]
fn chatml() {
    check(
        CHATML,
        &json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    );
}

#[test]
fn only_an_answer_at_the_end_suppresses_the_generation_prompt() {
    let check = |role: &str, prompted: bool| {
        let messages = [json!({"role": role, "content": "x"})];
        let text = template(CHATML).render(&conversation(&messages)).unwrap();
        assert_eq!(
            text.ends_with("<|im_start|>assistant\n"),
            prompted,
            "{role}"
        );
    };
    check("user", true);
    check("tool", true);
    check("system", true);
    check("assistant", false);
    let messages = [json!({"role": "assistant", "content": "x"})];
    let asked = Conversation {
        add_generation_prompt: Some(true),
        ..conversation(&messages)
    };
    assert!(
        template(CHATML)
            .render(&asked)
            .unwrap()
            .ends_with("assistant\n")
    );
}

/// In the style of Llama 3: dates, trimmed content, tools as indented JSON, one call at a time.
const LLAMA: &str = r#"{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\n\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"#;

#[test]
fn llama() {
    let call = json!({"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Zürich\",\"a\":1}"}});
    let messages = [
        json!({"role": "system", "content": " Be brief. "}),
        json!({"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]}),
        json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        json!({"role": "tool", "content": "hot", "tool_call_id": "1"}),
    ];
    let tools = weather();
    let with_tools = Conversation {
        tools: Some(&tools),
        ..conversation(&messages)
    };
    let header = |role| format!("<|start_header_id|>{role}<|end_header_id|>\n\n");
    let expected = [
        "<s>".to_owned(), header("system"), "Today Date: 05 Jul 2026\n\n".to_owned(),
        "{\n    \"type\": \"function\",\n    \"function\": {\n        \"name\": \"weather\",\n        \"description\": \"It's <hot>?\",\n        \"parameters\": {\n            \"type\": \"object\",\n            \"properties\": {\n                \"city\": {\n                    \"type\": \"string\"\n                }\n            }\n        }\n    }\n}\n\nBe brief.<|eot_id|>".to_owned(),
        header("user"), "Hi\nthere<|eot_id|>".to_owned(),
        header("assistant"), "{\"name\": \"weather\", \"parameters\": {\"city\": \"Zürich\", \"a\": 1}}<|eot_id|>".to_owned(),
        header("ipython"), "\"hot\"<|eot_id|>".to_owned(),
        header("assistant"),
    ];
    assert_eq!(
        template(LLAMA).render(&with_tools).unwrap(),
        expected.concat()
    );
    let two_calls = json!([{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{}"}}, {"function": {"name": "b", "arguments": "{}"}}]}]);
    check_error(
        LLAMA,
        &two_calls,
        "This model only supports single tool-calls at once!",
    );
}

/// In the style of Qwen 3: namespaces, reversed messages, string methods, reasoning cut from old
/// answers.
const QWEN: &str = r"{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\n\n' }}
    {%- endif %}
    {{- '# Tools\n<tools>' }}
    {%- for tool in tools %}
        {{- '\n' }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '\n</tools><|im_end|>\n' }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == 'user' and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == 'user') or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\n{\x22name\x22: \x22' }}
                {{- tool_call.name }}
                {{- '\x22, \x22arguments\x22: ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or (messages[loop.index0 - 1].role != 'tool') %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + content + '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != 'tool') %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}";

#[test]
fn qwen() {
    let messages = [
        json!({"role": "user", "content": "first"}),
        json!({"role": "assistant", "content": "<think>\nhm\n</think>\n\nanswer"}),
        json!({"role": "user", "content": "second"}),
        json!({"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Oslo\"}"}}]}),
        json!({"role": "tool", "content": "cold"}),
        json!({"role": "tool", "content": "dark"}),
    ];
    let tools = weather();
    let variables = json!({"enable_thinking": false});
    let conversation = Conversation {
        tools: Some(&tools),
        variables: variables.as_object(),
        ..conversation(&messages)
    };
    let expected = "<|im_start|>system\n# Tools\n<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"description\": \"It's <hot>?\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}}}}}\n</tools><|im_end|>\n\
        <|im_start|>user\nfirst<|im_end|>\n<|im_start|>assistant\nanswer<|im_end|>\n<|im_start|>user\nsecond<|im_end|>\n\
        <|im_start|>assistant\n<think>\n\n</think>\n\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call><|im_end|>\n\
        <|im_start|>user\n<tool_response>\ncold\n</tool_response>\n<tool_response>\ndark\n</tool_response><|im_end|>\n\
        <|im_start|>assistant\n<think>\n\n</think>\n\n";
    assert_eq!(template(QWEN).render(&conversation).unwrap(), expected);
}

/// In the style of Mistral: roles must alternate, the system message joins the last user's.
const MISTRAL: &str = r#"{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
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
            {%- endfor %}
            {{- "] [/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported!") }}
    {%- endif %}
{%- endfor %}
"#;

#[test]
fn mistral() {
    let messages = [
        json!({"role": "system", "content": "S"}),
        json!({"role": "user", "content": "a"}),
        json!({"role": "assistant", "content": " b "}),
        json!({"role": "user", "content": "c"}),
    ];
    let tools = [json!({"type": "function", "function": {"name": "f", "description": "d"}})];
    let with_tools = Conversation {
        tools: Some(&tools),
        ..conversation(&messages)
    };
    assert_eq!(
        template(MISTRAL).render(&with_tools).unwrap(),
        "<s>[INST] a[/INST] b</s>[AVAILABLE_TOOLS] [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": \"d\", \"parameters\": {\"type\": \"object\", \"properties\": {}}}}] [/AVAILABLE_TOOLS][INST] S\n\nc[/INST]"
    );
    check_error(
        MISTRAL,
        &json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]),
        "After the optional system message, conversation roles must alternate user/assistant/user/assistant/...",
    );
}

/// In the style of Gemma: no system role, the assistant is called model.
const GEMMA: &str = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}";

#[test]
fn gemma() {
    check(
        GEMMA,
        &json!([{"role": "user", "content": "a "}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]),
        "<s><start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\nb<end_of_turn>\n<start_of_turn>user\nc<end_of_turn>\n<start_of_turn>model\n",
    );
    check_error(
        GEMMA,
        &json!([{"role": "system", "content": "s"}]),
        "System role not supported",
    );
}

#[test]
fn jinja_as_python_has_it() {
    let messages = &json!([{"role": "user", "content": "a b", "parts": [{"x": 1}, {"x": 2}]}]);
    let check = |text: &str, expected: &str| check(text, messages, expected);
    check("{{ messages.0.content }}{{ messages.0.parts.1.x }}", "a b2");
    check("{{ messages[0].content.split(' ')[-1].upper() }}", "B");
    check(
        "{% generation %}x{% endgeneration %}{%- generation -%} y {%- endgeneration %}",
        "xy",
    );
    check(
        "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "023",
    );
    check(
        "{{ '{\"b\": [1], \"a\": null}' | fromjson | tojson }}",
        "{\"b\": [1], \"a\": null}",
    );
    check(
        "{{ {'b': 1, 'a': 'é<'} | tojson(sort_keys=true, separators=(',', ':')) }}",
        "{\"a\":\"é<\",\"b\":1}",
    );
    check(
        "{{ missing | length }}{{ none | length }}{{ tools | length }}",
        "000",
    );
    check("{{ unk_token is defined }}{{ eos_token }}", "False</s>");
    check("  {% if true %}\n  x\n  {% endif %}\n", "  x\n");
    check(
        "{{ messages[0].get('name', 'nobody') }}{{ messages[0].items() | length }}",
        "nobody3",
    );
    check(
        "{% set x = 5 %}{{ 'a' ~ x }}{{ x // 2 }}{{ 'yes' if x is number and x != 4 else 'no' }}",
        "a52yes",
    );
    check("{{ strftime_now('%Y-%m-%d %H:%M') }}", "2026-07-05 01:02");
    check(
        "{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=3) }}",
        "1213",
    );
    check(
        "{{ [3, 1] | sort | join(', ') }}{{ messages | map(attribute='role') | list | first }}",
        "1, 3user",
    );
}

#[test]
fn arguments_may_have_members_of_any_name() {
    let arguments = r#"{"$serde_json::private::RawValue": "{}"}"#;
    check(
        "{{ messages[0].tool_calls[0].function.arguments | tojson }}{{ messages[0].content | fromjson | tojson }}",
        &json!([{"role": "assistant", "content": arguments, "tool_calls": [{"function": {"arguments": arguments}}]}]),
        &arguments.repeat(2),
    );
}

#[test]
fn a_failing_template_says_where() {
    check_error(
        "line one\n{{ messages[0].content.nope() }}",
        &json!([{"role": "user", "content": "x"}]),
        "unknown method: string has no method named nope (line 2)",
    );
    let directory = directory(&[("chat_template.jinja", "a\n{% if %}")]);
    let error = ChatTemplate::from_dir(directory.path()).unwrap_err();
    assert!(
        matches!(&error, Error::TemplateSyntax { path, line: 2, .. } if path.ends_with("chat_template.jinja")),
        "{error}"
    );
}

#[test]
fn templates_are_found_where_models_keep_them() {
    let messages = [json!({"role": "user", "content": "x"})];
    let render = |files: &[(&str, &str)], tools: Option<&[Json]>| {
        let directory = directory(files);
        let template = ChatTemplate::from_dir(directory.path())?;
        template.render(&Conversation {
            tools,
            ..conversation(&messages)
        })
    };
    let named = json!({"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]});
    let named = named.to_string();
    let tools = weather();
    assert_eq!(
        render(&[("tokenizer_config.json", &named)], None).unwrap(),
        "d"
    );
    assert_eq!(
        render(&[("tokenizer_config.json", &named)], Some(&tools)).unwrap(),
        "t"
    );
    assert_eq!(
        render(&[("tokenizer_config.json", &named)], Some(&[])).unwrap(),
        "d"
    );
    let jinja = (
        "chat_template.jinja",
        "own\n{{ messages[0].content }}\nfile\n",
    );
    assert_eq!(
        render(&[("tokenizer_config.json", &named), jinja], Some(&tools)).unwrap(),
        "own\nx\nfile"
    );
    let json_file = (
        "chat_template.json",
        "{\"chat_template\": \"j{{ eos_token }}\"}",
    );
    let map = ("special_tokens_map.json", "{\"eos_token\": \"E\"}");
    assert_eq!(render(&[json_file, map], None).unwrap(), "jE");
    let error = render(&[("tokenizer_config.json", "{}")], None).unwrap_err();
    assert!(matches!(error, Error::NoChatTemplate { .. }));
    assert!(error.to_string().contains("add chat_template.jinja"));
    let error = render(&[("tokenizer_config.json", "{")], None).unwrap_err();
    assert!(error.to_string().contains("tokenizer_config.json"));
}

#[test]
fn variables_of_the_request_win() {
    let messages = [json!({"role": "user", "content": "x"})];
    let variables = json!({"add_generation_prompt": false, "custom": [1, "two"]});
    let conversation = Conversation {
        variables: variables.as_object(),
        ..conversation(&messages)
    };
    let text = "{{ add_generation_prompt }} {{ custom | tojson }}";
    assert_eq!(
        template(text).render(&conversation).unwrap(),
        "False [1, \"two\"]"
    );
}
