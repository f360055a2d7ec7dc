"""Tokenizers: against transformers where it is installed, and against each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_checks import shared, write_lines

from pcache.errors import ConfigError, TraceError
from pcache.trace import read_trace
from pcache.trace.tokenize import ByteTokenizer, Chat, ChatRejected, load_tokenizer

tokenizers = pytest.importorskip("tokenizers")
gguf = pytest.importorskip("gguf")

SPECIAL = ["<|end|>", "<|start|>", "<|stop|>"]
TEMPLATE = (
    "{{ bos_token }}{% if tools %}tools: {{ tools | tojson(indent=1) }}\n{% endif %}"
    "{% for message in messages %}\n"
    "  {% if message.role == 'bad' %}{{ raise_exception('no bad roles') }}{% endif %}\n"
    "  {%- if loop.index > 50 %}{% break %}{% endif %}"
    "<|start|>{{ message.role }}\n"
    "{% generation %}{{ message.content }}{% endgeneration %}"
    "{% if message.tool_calls %} calls {{ message.tool_calls | tojson }}{% endif %}<|stop|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
CORPUS = [
    "The cache holds the prefix; 2024 tokens, 3.14 more.",
    "le café de l'été",
    "  x\n\n y " * 9,
]
CHATS = [
    Chat([{"role": "user", "content": "The cache <|stop|> holds 42 cafés"}]),
    Chat([{"role": "system", "content": ""}, {"role": "user", "content": " x\n"}], [{"name": "é"}]),
    Chat([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 3),
]


def train() -> Any:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIAL,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", 0)]
    )
    return backend


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tiny"
    path.mkdir()
    train().save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "<|end|>",
                "eos_token": {"content": "<|stop|>", "__type": "AddedToken"},
                "chat_template": TEMPLATE,
            }
        )
    )
    return path


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    model = json.loads(train().to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_tokens_go_back_to_text(gguf_file: Path) -> None:
    for tokenizer in (load_tokenizer("bytes"), load_tokenizer(gguf_file)):
        for text, ids in zip(CORPUS, tokenizer.encode_outputs(CORPUS), strict=True):
            assert tokenizer.decode(ids).startswith(text)


def test_directory_equals_transformers(directory: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    ours = load_tokenizer(directory)
    encoded = ours.encode_chats(CHATS)
    for chat, ids in zip(CHATS, encoded, strict=True):
        expected = theirs.apply_chat_template(
            chat.messages, tools=chat.tools, add_generation_prompt=True, return_dict=False
        )
        assert ids.tolist() == expected
    texts = [*CORPUS, "", "<|start|>42"]
    assert [ids.tolist() for ids in ours.encode_texts(texts)] == theirs(texts)["input_ids"]
    assert (ours.name, ours.vocab_size) == ("tiny", len(theirs))


def test_gguf_equals_the_directory(directory: Path, gguf_file: Path) -> None:
    one, other = load_tokenizer(directory), load_tokenizer(gguf_file)
    for name in ("encode_chats", "encode_texts", "encode_outputs"):
        batch: list[Any] = CHATS if name == "encode_chats" else CORPUS
        pairs = zip(getattr(one, name)(batch), getattr(other, name)(batch), strict=True)
        assert all(np.array_equal(left, right) for left, right in pairs)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(
        st.lists(st.sampled_from([*SPECIAL, " ", "\n", "a", "The", "é", "42", "<", "|"])).map(
            "".join
        ),
        min_size=1,
        max_size=4,
    )
)
def test_segments_encode_as_whole_texts(directory: Path, texts: list[str]) -> None:
    backend = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    ours = load_tokenizer(directory).encode_outputs(texts)
    for text, ids in zip(texts, ours, strict=True):
        assert ids.tolist() == [*backend.encode(text, add_special_tokens=False).ids, 2]


def test_tokenizers_whose_ids_depend_on_place(tmp_path: Path) -> None:
    backend = train()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.save(str(tmp_path / "tokenizer.json"))
    texts = ["a<|start|>a a", "<|stop|>The"]
    ours = load_tokenizer(tmp_path).encode_outputs(texts)
    for text, ids in zip(texts, ours, strict=True):
        assert ids.tolist() == backend.encode(text, add_special_tokens=False).ids


def test_answers(directory: Path) -> None:
    ours = load_tokenizer(directory)
    call = {"role": "assistant", "content": "well", "tool_calls": [{"name": "f"}]}
    text, calls = ours.encode_answers(
        [CHATS[0]] * 2, [{"role": "assistant", "content": "ok"}, call]
    )
    assert text.tolist() == ours.encode_outputs(["ok"])[0].tolist()
    assert calls.tolist() == ours.encode_outputs(['well calls [{"name": "f"}]'])[0].tolist()
    prompt, following = ours.encode_chats(
        [CHATS[0], Chat([*CHATS[0].messages, call, {"role": "user", "content": "a"}])]
    )
    assert following[: len(prompt) + len(calls)].tolist() == [*prompt, *calls]


def test_answers_that_the_template_writes_in_another_way(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((directory / "tokenizer.json").read_bytes())
    (tmp_path / "chat_template.jinja").write_text(
        "{{ messages | length }}{{ messages[-1].content }}"
    )
    ours = load_tokenizer(tmp_path)
    answer = {"role": "assistant", "content": "a", "tool_calls": [{"b": 1}]}
    encoded = ours.encode_answers([CHATS[0]], [answer])
    assert encoded[0].tolist() == ours.encode_outputs(['a{"tool_calls":[{"b":1}]}'])[0].tolist()


def test_refused_messages_name_the_line(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ChatRejected, match="no bad roles") as caught:
        load_tokenizer(directory).encode_chats([CHATS[0], Chat([{"role": "bad"}])])
    assert caught.value.index == 1
    good = {"messages": CHATS[0].messages, "output_tokens": 1}
    path = write_lines(tmp_path / "t.jsonl", good, good | {"messages": [{"role": "bad"}]})
    with pytest.raises(TraceError, match=r":2: the chat template .*tiny.* \(no bad roles\)"):
        read_trace(path, tokenizer=directory)


def test_bytes_tell_all_chats_apart() -> None:
    chats = [
        Chat([{"role": "user", "content": "a"}]),
        Chat([{"role": "user", "content": "a"}], [{"name": "f"}]),
        Chat([{"role": "user", "content": "a", "name": "f"}]),
        Chat([{"role": "user", "content": 'a{"name":"f"}'}]),
        Chat([{"role": "user", "content": "a"}] * 2),
        Chat([{"role": "user\na", "content": ""}, {"role": "user", "content": "a"}]),
    ]
    encoded = {tuple(ids.tolist()) for ids in ByteTokenizer().encode_chats(chats)}
    assert len(encoded) == len(chats)


def test_what_cannot_be_loaded(tmp_path: Path, directory: Path) -> None:
    cases: list[tuple[str, str]] = [("none", "is neither 'bytes'"), (".", "no tokenizer.json")]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "tokenizer.json").write_text("{")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "tokenizer.json").write_bytes(
        (directory / "tokenizer.json").read_bytes()
    )
    (tmp_path / "config" / "tokenizer_config.json").write_text("[")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\0\0")
    cases += [("bad", "not a tokenizer"), ("config", "cannot be read"), ("broken.gguf", "GGUF")]
    for name, problem in cases:
        with pytest.raises(ConfigError, match=problem):
            load_tokenizer(tmp_path / name)


def test_no_or_bad_chat_template(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((directory / "tokenizer.json").read_bytes())
    with pytest.raises(ConfigError, match="has no chat template"):
        load_tokenizer(tmp_path).encode_chats(CHATS)
    (tmp_path / "chat_template.jinja").write_text("{% if %}")
    with pytest.raises(ConfigError, match="the chat template is not valid"):
        load_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ ''.__class__.__mro__ }}")
    with pytest.raises(ChatRejected):
        load_tokenizer(tmp_path).encode_chats(CHATS)


def test_missing_libraries_say_what_to_install(
    gguf_file: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, path in (("gguf", gguf_file), ("tokenizers", directory), ("jinja2", directory)):
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, module, None)
            with pytest.raises(ConfigError, match=f"pip install {module}"):
                load_tokenizer(path)


def test_real_chats_as_bytes() -> None:
    trace = read_trace(shared("traces/tau_airline.jsonl.xz"), limit=100)
    assert (len(trace), trace.tokenizer) == (100, "bytes")
    first = 0
    following = trace.session_ids.index(trace.session_ids[0], first + 1)
    before = trace.prompt_symbols(first)
    assert np.array_equal(trace.prompt_symbols(following)[: len(before)], before)
