use super::*;

const CHATML: &str = "{% for message in messages %}\
{{ '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn template(source: &str) -> Result<ChatTemplate, TemplateError> {
    let tokens = BTreeMap::from([("bos_token", "<s>".to_owned())]);
    ChatTemplate::new(
        vec![(DEFAULT.to_owned(), source.to_owned())],
        tokens,
        Path::new("t.jinja"),
    )
}

fn messages(json: &str) -> Vec<Message> {
    serde_json::from_str(json).unwrap()
}

fn render(source: &str, conversation: &str) -> Result<String, TemplateError> {
    let messages = messages(conversation);
    template(source)?.render(&RenderRequest {
        messages: &messages,
        tools: None,
        kwargs: None,
    })
}

fn check(source: &str, conversation: &str, expected: &str) {
    assert_eq!(render(source, conversation).unwrap(), expected);
}

#[test]
fn chatml_renders_every_turn_and_asks_for_the_next() {
    check(
        CHATML,
        r#"[{"role":"system","content":" s "},{"role":"user","content":"hi"}]"#,
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    );
}

#[test]
fn only_an_assistant_turn_at_the_end_is_continued() {
    let source = "{{ add_generation_prompt }}";
    check(source, r#"[{"role":"assistant","content":"x"}]"#, "False");
    check(
        source,
        r#"[{"role":"tool","content":"x","tool_call_id":"1"}]"#,
        "True",
    );
    check(source, r#"[{"role":"user","content":"x"}]"#, "True");
}

#[test]
fn text_parts_are_joined_and_other_parts_pass() {
    let source = "{{ messages[0].content }}";
    check(
        source,
        r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#,
        "a\nb",
    );
    check(
        "{{ messages[0].content[1].type }}",
        r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"}]}]"#,
        "image_url",
    );
}

#[test]
fn python_methods_slices_and_namespaces_work() {
    let source = "{% set ns = namespace(seen=false) %}{% for m in messages[::-1] %}\
        {% if m.content.startswith('b') %}{% set ns.seen = true %}{% endif %}\
        {{ m.content.split(',')[-1].strip().upper() }}{% endfor %}{{ ns.seen }}";
    check(
        source,
        r#"[{"role":"user","content":"x, y"},{"role":"user","content":"b, z"}]"#,
        "ZYTrue",
    );
}

#[test]
fn block_tags_on_lines_of_their_own_leave_no_blank_lines() {
    let source = "{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}\n";
    check(source, r#"[{"role":"user","content":"a"}]"#, "a\n");
}

#[test]
fn json_keeps_order_and_python_spacing() {
    let messages = messages(r#"[{"role":"user","content":"x"}]"#);
    let tools = [serde_json::json!({"name": "f", "a": [1, "é<"]})];
    let template = template("{{ tools[0] | tojson }}{{ '{\"k\": 1}' | fromjson }}").unwrap();
    let text = template
        .render(&RenderRequest {
            messages: &messages,
            tools: Some(&tools),
            kwargs: None,
        })
        .unwrap();
    assert!(
        text.starts_with(r#"{"name": "f", "a": [1, "é<"]}"#),
        "{text}"
    );
}

#[test]
fn kwargs_and_special_tokens_are_variables() {
    let messages = messages(r#"[{"role":"user","content":"x"}]"#);
    let kwargs: Map<String, Json> = serde_json::from_str(r#"{"enable_thinking":false}"#).unwrap();
    let template =
        template("{{ bos_token }}{{ enable_thinking }}{{ missing is defined }}").unwrap();
    let text = template
        .render(&RenderRequest {
            messages: &messages,
            tools: None,
            kwargs: Some(&kwargs),
        })
        .unwrap();
    assert_eq!(text, "<s>FalseFalse");
}

#[test]
fn a_template_may_refuse_and_is_quoted() {
    let source = "{{ raise_exception('no system role') }}";
    let error = render(source, r#"[{"role":"user","content":"x"}]"#).unwrap_err();
    assert!(
        matches!(&error, TemplateError::Refused(reason) if reason == "no system role"),
        "{error}"
    );
    let error = render(
        "{{ messages[0].content / 2 }}",
        r#"[{"role":"user","content":"x"}]"#,
    );
    assert!(matches!(error, Err(TemplateError::Render(_))));
    assert!(matches!(
        template("{% for %}"),
        Err(TemplateError::Syntax { .. })
    ));
}

#[test]
fn the_current_date_can_be_asked_for() {
    let text = render(
        "{{ strftime_now('%Y') }}",
        r#"[{"role":"user","content":"x"}]"#,
    )
    .unwrap();
    assert_eq!(text.len(), 4);
}

#[test]
fn generation_tags_are_ignored() {
    check(
        "{% generation %}a{% endgeneration %}{%- generation -%} b {%- endgeneration -%}",
        r#"[{"role":"user","content":"x"}]"#,
        "ab",
    );
}

#[test]
fn directories_hold_the_template_in_one_of_two_files() {
    let directory = tempfile::tempdir().unwrap();
    let missing = ChatTemplate::from_dir(directory.path()).unwrap_err();
    assert!(missing.is_missing(), "{missing}");
    let config = r#"{"bos_token":{"content":"<b>"},"chat_template":[
        {"name":"default","template":"d{{ bos_token }}"},{"name":"tool_use","template":"t"}]}"#;
    fs::write(directory.path().join("tokenizer_config.json"), config).unwrap();
    let messages = messages(r#"[{"role":"user","content":"x"}]"#);
    let template = ChatTemplate::from_dir(directory.path()).unwrap();
    let tools = [serde_json::json!({})];
    let render = |template: &ChatTemplate, tools| {
        template
            .render(&RenderRequest {
                messages: &messages,
                tools,
                kwargs: None,
            })
            .unwrap()
    };
    assert_eq!(render(&template, None), "d<b>");
    assert_eq!(render(&template, Some(&tools[..])), "t");
    fs::write(
        directory.path().join("chat_template.jinja"),
        "{# c #}\nline{{ '\\n' }}\nend",
    )
    .unwrap();
    let template = ChatTemplate::from_dir(directory.path()).unwrap();
    assert_eq!(render(&template, None), "line\n\nend");
}
