"""A folded batch has the loss and the gradients of the padded one, whatever its rows share."""

from __future__ import annotations

import random

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MiniCPM3Config,
    MiniCPM3ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    NemotronConfig,
    NemotronForCausalLM,
)

from fin_qlora.errors import UsageError
from fin_qlora.models.base import load_model
from fin_qlora.prompts.contract import IGNORED
from fin_qlora.training.forward import attention, folding
from fin_qlora.training.forward.attention import Layout
from fin_qlora.training.forward.folding import fold, passes, rounded
from fin_qlora.training.forward.loss import token_figures
from fin_qlora.training.forward.predictions import Predictor, can_fold, split

DRAWN = random.Random(5)


def words(count: int) -> list[int]:
    return [DRAWN.randrange(3, 60) for _ in range(count)]


INSTRUCTION, OTHER = words(24), words(30)
BATCHES = {
    "a shared prefix": [INSTRUCTION + words(n) for n in (9, 12, 7, 10)],
    "nothing shared": [words(n) for n in (20, 31, 25)],
    "one row": [words(30)],
    "very different lengths": [INSTRUCTION + words(n) for n in (1, 90, 3, 40)],
    "a prompt that begins another": [INSTRUCTION + OTHER[:20], INSTRUCTION + OTHER],
    "the same row twice": [INSTRUCTION + OTHER[:9], INSTRUCTION + OTHER[:9], words(20)],
    "two tasks": [INSTRUCTION + words(8), OTHER + words(9), INSTRUCTION + words(6), OTHER],
    "a prefix of a prefix": [
        INSTRUCTION + OTHER[:20] + words(6),
        INSTRUCTION + OTHER[:20] + words(9),
        INSTRUCTION + words(22),
    ],
}


def batch_of(rows: list[list[int]], *, answer: int = 3) -> dict[str, torch.Tensor]:
    longest = max(map(len, rows))
    trained = [[IGNORED] * max(0, len(row) - answer) + row[-answer:] for row in rows]
    return {
        "input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
        "labels": torch.tensor([row + [IGNORED] * (longest - len(row)) for row in trained]),
        "attention_mask": torch.tensor(
            [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        ),
    }


def llama(**options) -> LlamaForCausalLM:
    torch.manual_seed(3)
    settings = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    return LlamaForCausalLM(LlamaConfig(**(settings | options)))


def adapted(model, **options):
    torch.manual_seed(4)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
    lora = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=targets, **options)
    tuned = get_peft_model(model, lora)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.2 * torch.randn_like(parameter)
    return tuned


def gradients(model) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def plain(model, batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten(), reduction="sum"
    )
    loss.backward()
    return loss.detach(), gradients(model)


def folded(model, batch, *, share_prefix: bool = True):
    predictor = Predictor(model, share_prefix=share_prefix)
    assert predictor.folds is share_prefix
    loss = token_figures(*predictor.predict(model, batch)[:2]).losses.sum()
    loss.backward()
    return loss.detach(), gradients(model)


def same(ours, theirs, *, tolerance: float = 1e-5) -> None:
    assert float(ours[0]) == pytest.approx(float(theirs[0]), rel=tolerance)
    assert ours[1].keys() == theirs[1].keys()
    assert len(ours[1]) > 10
    for name, gradient in theirs[1].items():
        apart = float((ours[1][name] - gradient).norm())
        assert apart <= tolerance * float(gradient.norm()) + 1e-6, name


@pytest.fixture(params=["together", "one by one"])
def way(request, monkeypatch):
    """Both ways through attention, at sizes at which only one of them would be taken."""
    if request.param == "one by one":
        monkeypatch.setattr(attention, "SMALL", 0)
        monkeypatch.setattr(attention, "BLOCK", 8)
        monkeypatch.setattr(attention, "PICKED", 0)


@pytest.mark.parametrize("name", BATCHES)
def test_loss_and_gradients_are_those_of_the_padded_batch(name, way):
    model = adapted(llama())
    batch = batch_of(BATCHES[name])
    same(folded(model, batch), plain(model, batch))


@pytest.mark.parametrize("name", BATCHES)
def test_every_token_may_be_trained(name):
    model = adapted(llama())
    batch = batch_of(BATCHES[name], answer=200)
    same(folded(model, batch), plain(model, batch))


@pytest.mark.parametrize("options", [{"use_rslora": True}, {"use_dora": True}])
def test_so_it_is_with_other_adapters(options):
    model = adapted(llama(), **options)
    batch = batch_of(BATCHES["two tasks"])
    same(folded(model, batch), plain(model, batch))


@pytest.mark.parametrize("reentrant", [False, True])
def test_so_it_is_when_activations_are_recomputed(reentrant):
    model = adapted(llama())
    model.enable_input_require_grads()
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    batch = batch_of(BATCHES["two tasks"])
    model.train()
    same(folded(model, batch), plain(model, batch))


@pytest.mark.parametrize(
    ("quantization", "tolerance"), [("none", 0.03), ("4bit", 0.03), ("8bit", 0.1)]
)
def test_so_it_is_on_real_bases(small_base, quantization, tolerance):
    model = adapted(load_model(small_base, quantization=quantization))
    batch = batch_of(BATCHES["two tasks"])
    same(folded(model, batch), plain(model, batch), tolerance=tolerance)


def test_a_padded_batch_needs_no_mask():
    model = adapted(llama())
    batch = batch_of(BATCHES["very different lengths"])
    same(folded(model, batch, share_prefix=False), plain(model, batch))


def test_a_batch_that_is_padded_left_keeps_its_mask():
    model = adapted(llama())
    batch = {name: value.flip(1) for name, value in batch_of(BATCHES["two tasks"]).items()}
    same(folded(model, batch, share_prefix=False), plain(model, batch))


def test_the_last_layer_is_computed_where_it_is_needed():
    model = adapted(llama())
    predictor = Predictor(model, share_prefix=True)
    mlps = [layer.mlp.down_proj for layer in model.get_decoder().layers]
    seen = []
    for mlp in mlps:
        mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    batch = batch_of(BATCHES["a shared prefix"])
    predictor.predict(model, batch)
    whole = len(fold(**batch).input_ids)
    assert seen == [whole, whole, int((batch["labels"][:, 1:] != IGNORED).sum())]


def test_a_model_may_be_given_to_one_trainer_after_another():
    model = adapted(llama())
    batch = batch_of(BATCHES["two tasks"])
    wanted = plain(model, batch)
    for _ in range(2):
        same(folded(model, batch), wanted)


def test_what_rows_share_is_there_once():
    batch = batch_of(BATCHES["a shared prefix"])
    whole = fold(**batch)
    assert [node.run.length for node in whole.nodes[:1]] == [24]
    assert len(whole.input_ids) == rounded(24 + 9 + 12 + 7 + 10)
    lone = fold(**batch_of(BATCHES["nothing shared"]))
    assert all(not node.path for node in lone.nodes)


def test_a_little_shared_before_a_long_rest_is_left_in_the_rows():
    rows = [INSTRUCTION + words(24 * 9) for _ in range(2)]
    assert all(not node.path for node in fold(**batch_of(rows)).nodes)


def test_the_model_attends_as_before_without_a_folding():
    model = llama()
    ids = torch.tensor(BATCHES["nothing shared"][:1])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        Predictor(model, share_prefix=True)
        assert model.config._attn_implementation == attention.NAME
        torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=0, atol=0)
        masked = torch.ones_like(ids)
        masked[0, -1] = 0
        assert model(input_ids=ids, attention_mask=masked).logits.isfinite().all()


def eager():
    model = llama()
    model.set_attn_implementation("eager")
    return model


def windowed():
    torch.manual_seed(3)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64}
    return MistralForCausalLM(MistralConfig(**small, **heads, sliding_window=8))


SMALL_DECODER = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "pad_token_id": None,
}


def forgetful():
    """Its layers do not hand on what the model is called with."""
    torch.manual_seed(3)
    return NemotronForCausalLM(NemotronConfig(**SMALL_DECODER))


def dropping():
    return llama(attention_dropout=0.1)


def latent(**options):
    """Its values are narrower than its keys."""
    torch.manual_seed(3)
    widths = {"qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5}
    ranks = {"kv_lora_rank": 8, "q_lora_rank": None}
    return MiniCPM3ForCausalLM(MiniCPM3Config(**(SMALL_DECODER | widths | ranks | options)))


@pytest.mark.parametrize("width", [5, 14])
def test_values_may_be_of_another_width_than_keys(width, way):
    model = latent(v_head_dim=width)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "proj" in name
    batch = batch_of(BATCHES["two tasks"])
    same(folded(model, batch), plain(model, batch))


@pytest.mark.parametrize(("key_width", "value_width"), [(8, 6), (264, 264)])
def test_what_flash_attention_has_no_kernel_for_is_computed_without(
    key_width, value_width, monkeypatch
):
    monkeypatch.setattr(attention, "_flash", lambda *_: True)
    monkeypatch.setattr(attention.Layout, "_unequal", None)
    batch = fold(**batch_of(BATCHES["two tasks"]))
    layout = Layout(batch.nodes, places=batch.places)
    query, key = (torch.randn(1, heads, layout.tokens, key_width) for heads in (4, 2))
    value = torch.randn(1, 2, layout.tokens, value_width)
    wanted = reference(layout, query, key, value, 0.1)
    result = layout.attend(query, key, value, scale=0.1)
    torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"folding": None}, "was not told"), ({"dropout": 0.1}, "drops attention weights")],
)
def test_a_folded_batch_is_never_attended_to_otherwise(change, complaint):
    batch = fold(**batch_of(BATCHES["one row"]))
    states = torch.randn(1, 2, len(batch.input_ids), 8)
    options = {"folding": Layout(batch.nodes, places=batch.places), "dropout": 0.0} | change
    mask = torch.ones(attention.MASK, dtype=torch.bool)
    with pytest.raises(UsageError, match=complaint):
        attention.folded_attention(torch.nn.Identity(), states, states, states, mask, **options)


def test_to_ask_whether_a_model_can_draws_nothing(monkeypatch):
    model = adapted(llama())
    for module in model.modules():
        if hasattr(module, "lora_dropout"):
            module.lora_dropout["default"] = torch.nn.Dropout(0.5)
    model.train()
    torch.manual_seed(7)
    assert Predictor(model, share_prefix=True).folds
    drawn = torch.rand(3)
    torch.manual_seed(7)
    assert drawn.equal(torch.rand(3))


@pytest.mark.parametrize("make", [eager, windowed, forgetful, dropping])
def test_models_that_cannot_are_trained_on_padded_batches(make):
    model = make().eval()
    assert make is forgetful or not can_fold(model)
    predictor = Predictor(model, share_prefix=True)
    assert not predictor.folds
    batch = batch_of(BATCHES["two tasks"])
    with torch.no_grad():
        figures = token_figures(*predictor.predict(model, batch)[:2])
        logits = model(input_ids=batch["input_ids"]).logits[:, :-1].flatten(0, 1)
    wanted = torch.nn.functional.cross_entropy(
        logits, batch["labels"][:, 1:].flatten(), reduction="sum"
    )
    assert float(figures.losses.sum()) == pytest.approx(float(wanted), rel=1e-5)


def reference(layout: Layout, query, key, value, scale):
    """Attention under the plain mask of who may see whom."""
    mask = torch.zeros(layout.tokens, layout.tokens, dtype=torch.bool)
    for node in layout.nodes:
        for place in range(node.run.start, node.run.start + node.run.length):
            mask[place, node.run.start : place + 1] = True
            for run in node.path:
                mask[place, run.start : run.start + run.length] = True
    repeats = query.shape[1] // key.shape[1]
    return torch.nn.functional.scaled_dot_product_attention(
        query,
        key.repeat_interleave(repeats, 1),
        value.repeat_interleave(repeats, 1),
        attn_mask=mask,
        scale=scale,
    ).transpose(1, 2)


def unequal(query, key, value, query_ends, key_ends, *lengths, scale, window_size, enable_gqa):
    """What FlashAttention over unequal sequences is documented to compute."""
    assert window_size == (-1, 0)
    assert enable_gqa
    assert lengths == (
        int(query_ends.diff().max()),
        int(key_ends.diff().max()),
    )
    repeats = query.shape[1] // key.shape[1]
    parts = []
    for number in range(len(query_ends) - 1):
        own = slice(query_ends[number], query_ends[number + 1])
        seen = slice(key_ends[number], key_ends[number + 1])
        queries, keys, values = query[own], key[seen], value[seen]
        mask = torch.ones(len(queries), len(keys)).tril(len(keys) - len(queries)).bool()
        parts.append(
            torch.nn.functional.scaled_dot_product_attention(
                queries.transpose(0, 1),
                keys.repeat_interleave(repeats, 1).transpose(0, 1),
                values.repeat_interleave(repeats, 1).transpose(0, 1),
                attn_mask=mask,
                scale=scale,
            ).transpose(0, 1)
        )
    return torch.cat(parts)


@pytest.mark.parametrize("known", ["scale window_size", "scale", ""])
def test_older_torch_attends_alike_within_unequal_sequences(known, monkeypatch):
    def older(query, key, value, query_ends, key_ends, most, longest, is_causal=False, **options):
        assert options.keys() <= set(known.split())
        assert is_causal or options["window_size"] == (-1, 0)
        assert key.shape[1] == query.shape[1]
        scale = options.get("scale", query.shape[-1] ** -0.5)
        return unequal(
            query, key, value, query_ends, key_ends, most, longest, scale=scale,
            window_size=(-1, 0), enable_gqa=True,
        )  # fmt: skip

    query, key, value = (torch.randn(7, heads, 8) for heads in (4, 2, 2))
    ends = torch.tensor([0, 3, 7], dtype=torch.int32)
    settings = {"ends": (ends, ends), "longest": (4, 4), "scale": 0.3}
    monkeypatch.setattr(
        attention, "_varlen_options", lambda: {"enable_gqa", "window_size", "scale"}
    )
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", unequal)
    wanted = attention._varlen(query, key, value, **settings)
    monkeypatch.setattr(attention, "_varlen_options", lambda: set(known.split()))
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", older)
    torch.testing.assert_close(attention._varlen(query, key, value, **settings), wanted)


def test_attention_takes_another_way_where_torch_cannot():
    # no FlashAttention on a processor: the trial fails, and nothing else
    assert attention._runs(torch.device("cpu"), torch.bfloat16) is False


@pytest.mark.parametrize("how", ["together", "one by one", "mixed", "on a GPU", "only predicting"])
def test_attention_is_that_of_the_plain_mask(how, monkeypatch):
    monkeypatch.setattr(folding, "WORTH", 2)
    if how == "one by one":
        monkeypatch.setattr(attention, "SMALL", 0)
    if how == "mixed":
        monkeypatch.setattr(attention, "SMALL", 300)
    if how == "on a GPU":
        monkeypatch.setattr(attention, "_flash", lambda *_: True)
        monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", unequal)
    monkeypatch.setattr(attention, "BLOCK", 7)
    drawn = random.Random(11)
    for case in range(20):
        stems = [[drawn.randrange(9) for _ in range(drawn.randrange(1, 25))] for _ in range(3)]
        rows = [
            drawn.choice(stems)[: drawn.randrange(1, 25)]
            + [drawn.randrange(3) for _ in range(drawn.randrange(1, 20))]
            for _ in range(drawn.randrange(1, 7))
        ]
        batch = fold(**batch_of(rows))
        layout = Layout(batch.nodes, places=batch.places)
        torch.manual_seed(case)
        query, key, value = (torch.randn(1, heads, layout.tokens, 8) for heads in (4, 2, 2))
        wanted = reference(layout, query, key, value, 0.3)
        if how == "only predicting":
            result = layout.predicting.attend(query, key, value, scale=0.3)
            others = torch.ones(layout.tokens, dtype=torch.bool)
            others[batch.places] = False
            assert not result[:, others].any()
            result, wanted = result[:, batch.places], wanted[:, batch.places]
        else:
            result = layout.attend(query, key, value, scale=0.3)
        torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-5)


def test_passes_hold_every_row_once_and_keep_like_rows_together():
    batch = batch_of(
        [INSTRUCTION + words(5), words(40), INSTRUCTION + words(6), words(10), OTHER + words(9)]
    )
    groups = passes(batch["input_ids"], batch["attention_mask"], limit=50)
    assert sorted(row for group in groups for row in group) == [0, 1, 2, 3, 4]
    assert any({0, 2} <= set(group) for group in groups)
    for group in groups:
        used = fold(**{name: value[group] for name, value in batch.items()})
        tokens = sum(node.run.length for node in used.nodes)
        assert len(group) == 1 or tokens <= rounded(50)


def test_passes_over_padded_rows_count_the_padding():
    batch = batch_of([INSTRUCTION + words(n) for n in (1, 90, 3, 40, 2, 5)])
    lengths = batch["attention_mask"].sum(1).tolist()
    for limit in (1, 60, 115, 250, 300):
        parts = split(batch, limit=limit, shared=False)
        assert sorted(n for part in parts for n in part["attention_mask"].sum(1).tolist()) == (
            sorted(lengths)
        )
        for part in parts:
            assert part["input_ids"].numel() <= limit or len(part["input_ids"]) == 1
    assert len(split(batch, limit=115, shared=False)) == 4
    assert len(split(batch, limit=300, shared=False)) == 2


def test_a_batch_is_split_without_losing_a_token():
    batch = batch_of([words(40), words(3), words(30), words(20)]) | {
        "task_ids": torch.tensor([3, 1, 0, 2])
    }
    parts = split(batch, limit=45)
    assert len(parts) > 1
    assert sum(int(part["attention_mask"].sum()) for part in parts) == 93
    assert sorted(int(i) for part in parts for i in part["task_ids"]) == [0, 1, 2, 3]
    trained = sorted(
        label for part in parts for label in part["labels"].flatten().tolist() if label != IGNORED
    )
    assert trained == sorted(x for x in batch["labels"].flatten().tolist() if x != IGNORED)
    assert all(part["input_ids"].shape == part["labels"].shape for part in parts)
    assert len(split(batch, limit=None)) == 1
    assert len(split(batch | {"position_ids": batch["input_ids"]}, limit=45)) == 1
