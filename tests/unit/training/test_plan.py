"""A plan's memory is the trainer's; its steps, bytes and verdicts follow from the settings."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoConfig

from fin_qlora import FinSFTConfig, FinSFTTrainer, tasks
from fin_qlora.errors import UnknownNameError, UsageError
from fin_qlora.inference.generation import CACHE_BUDGET
from fin_qlora.inference.scoring import score_labels
from fin_qlora.models.activations import LiveBytes
from fin_qlora.models.architecture import llama_31
from fin_qlora.models.base import load_model
from fin_qlora.models.cards import CARDS, Card, card
from fin_qlora.models.tiny import tiny_base_path
from fin_qlora.training.evaluation_memory import EvaluationSettings
from fin_qlora.training.plan import Lengths, Plan, zero_one_bytes

CONTRACT = tasks.get("tfns").contract()


def lengths(**changes) -> Lengths:
    given = {"rows": 1000, "answer": 3, "source": "stated"} | changes
    return Lengths.stated(60, 90, 300, **given)


@pytest.fixture
def plan(tmp_path):
    def build(*, config=None, adapter=None, found=None, plan=None, **settings) -> Plan:
        training = FinSFTConfig(output_dir=str(tmp_path), **settings)
        return Plan(
            config=config or llama_31("8b"),
            adapter=adapter or LoraConfig(r=4, target_modules=["q_proj", "k_proj", "v_proj"]),
            training=training,
            lengths=found or lengths(),
            **({"quantization": "4bit"} | (plan or {})),
        )

    return build


@pytest.mark.parametrize("quantization", ["none", "4bit", "8bit"])
@pytest.mark.parametrize("recompute", [False, True])
def test_activations_are_those_of_the_trainer(tmp_path, tokenizer, plan, quantization, recompute):
    """Within 15 %: the plan counts the last layer whole, the trainer computes a part of it."""
    base = tiny_base_path()
    text = "The company said its profit rose in the quarter. " * 30
    words = text.split()
    rows = [" ".join(words[i:] + words[:i]) for i in range(3)]
    examples = [CONTRACT.encode(tokenizer, row, CONTRACT.labels[0]) for row in rows]
    adapter = LoraConfig(
        r=4, lora_dropout=0.0, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    settings = {
        "per_device_train_batch_size": 1,
        "max_steps": 1,
        "disable_tqdm": True,
        "activation_checkpointing": recompute,
    }
    trainer = FinSFTTrainer(
        model=load_model(base, quantization=quantization),
        args=FinSFTConfig(output_dir=str(tmp_path), **settings),
        train_dataset=Dataset.from_list(
            [{"input_ids": e.input_ids, "labels": e.labels} for e in examples]
        ),
        processing_class=tokenizer,
        peft_config=adapter,
    )
    trainer.train()  # everything that is made once is there now
    model = trainer.model.train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    with LiveBytes(model) as live:
        trainer.training_step(trainer.model_wrapped, batch)
    length = len(examples[0].input_ids)
    made = plan(
        config=AutoConfig.from_pretrained(base),
        adapter=adapter,
        found=Lengths.of([length], answers=examples[0].answer_tokens, source="here"),
        plan={"quantization": quantization},
        **settings,
    )
    assert made.step(length).peak == pytest.approx(live.peak, rel=0.15)


def test_a_batch_of_many_tokens_takes_no_more_than_one_pass(plan):
    made = plan(per_device_train_batch_size=64, max_tokens_per_pass=1000)
    assert made.step(100).peak == made.step(100, rows=17).peak
    assert made.step(100, rows=5).peak < made.step(100).peak
    assert made.step(100).peak <= made.step(1000).peak
    # a row is never cut
    assert made.step(3000).peak > made.step(1000).peak


def test_what_rows_begin_with_in_common_is_counted_once(plan):
    def peak(shared: int, **changes) -> int:
        found = dataclasses.replace(lengths(), shared=shared)
        made = plan(found=found, per_device_train_batch_size=8, max_tokens_per_pass=None, **changes)
        return made.step(60).peak

    assert peak(0) > peak(40) > peak(59)
    assert peak(40, share_prefix=False) == peak(0, share_prefix=False)
    # 40 + 8 x 20 tokens are those of 200 rows of one
    one = plan(per_device_train_batch_size=1, max_tokens_per_pass=None)
    assert peak(40) == pytest.approx(one.step(200).peak, rel=0.05)


@pytest.mark.parametrize("share_prefix", [True, False])
def test_a_longer_tail_never_takes_less(plan, share_prefix):
    def total(longest: int) -> int:
        return plan(
            config=llama_31("8b", num_hidden_layers=4),
            per_device_train_batch_size=16,
            share_prefix=share_prefix,
            found=Lengths.stated(120, 128, longest, rows=None, answer=16, source=""),
        ).total()

    totals = [total(longest) for longest in (128, 300, 1100, 2500)]
    assert totals == sorted(totals)
    assert totals[-1] > totals[0]


def test_most_at_once_is_no_less_than_any_of_its_lengths(plan):
    made = plan(
        config=llama_31("8b", num_hidden_layers=4),
        per_device_train_batch_size=16,
        share_prefix=False,
        found=Lengths.stated(120, 128, 1100, rows=None, answer=16, source=""),
    )
    # one row of 1,100 tokens goes alone, sixteen of 128 together
    assert made.step(1100).peak < made.step(128).peak == made.peak() == made.total() - made.held


def test_evaluation_may_take_the_most(plan):
    settings = EvaluationSettings(batch_size=32, labels=3, room=0)
    alone = plan(activation_checkpointing=True, per_device_train_batch_size=1)
    made = plan(
        plan={"evaluation": settings}, activation_checkpointing=True, per_device_train_batch_size=1
    )
    assert made.evaluation_peak > made.peak()
    assert made.total() == made.held + made.evaluation_peak > alone.total()
    room = Card(name="exact", memory_mib=4096, tflops=1)
    exact = dataclasses.replace(room, memory_mib=math.ceil((made.total() / 2**20 + 1024) / 0.95))
    assert made.fits(exact)
    less = dataclasses.replace(exact, memory_mib=exact.memory_mib - 10)
    assert alone.fits(less)
    assert not made.fits(less)


def test_what_is_written_keeps_its_keys_and_values(plan):
    def memory(size: str, longest: int):
        settings = EvaluationSettings(batch_size=32, labels=0, room=64)
        found = Lengths.stated(60, 90, longest, rows=None, answer=16, source="")
        return plan(
            config=llama_31(size), found=found, plan={"evaluation": settings}
        ).evaluation_memory

    short, long = memory("8b", 300), memory("8b", 4000)
    assert short.cache == 32 * 364 * 131_072
    # longer ones go fewer at a time, and never take more than the budget
    assert long.rows == CACHE_BUDGET // (4064 * 131_072) < 32
    assert long.cache <= CACHE_BUDGET
    assert memory("70b", 4000).rows < long.rows


def test_scoring_takes_what_is_planned(small_base, tokenizer):
    """The plan counts for each row what rows share, and the last layer whole: it is above."""
    model = load_model(small_base, quantization="none")
    config = model.config
    texts = [f"{n} The company said its profit rose in the quarter. " * 6 for n in range(16)]
    lengths = [len(CONTRACT.prompt(tokenizer, text)) for text in texts]
    with LiveBytes(model) as live:
        score_labels(model, tokenizer, CONTRACT, texts, batch_size=16)
    settings = EvaluationSettings(batch_size=16, labels=3, room=0)
    found = settings.memory(
        config,
        quantization="none",
        adapter=LoraConfig(r=4, target_modules=["q_proj", "v_proj"]),
        longest=max(lengths),
    )
    assert found.rows == 16
    assert live.peak <= found.peak < 2.2 * live.peak


def test_without_a_limit_all_rows_go_at_once(plan):
    made = plan(per_device_train_batch_size=64, max_tokens_per_pass=None)
    assert made.step(100).peak > 5 * made.step(100, rows=10).peak


def test_what_a_gpu_holds(plan):
    made = plan(per_device_train_batch_size=16, optim="adamw_torch")
    assert made.weights.layers == 224
    assert made.adapter_bytes == made.gradient_bytes == 4 * 2_359_296
    assert made.optimizer_bytes == 8 * 2_359_296 + 4 * 3 * 2 * 32
    assert made.total() == made.held + made.step(300).peak


def test_half_precision_adapters_have_half_the_state(plan):
    made = plan(adapter_dtype="bfloat16", optim="adamw_torch")
    assert made.adapter_bytes == 2 * 2_359_296
    assert made.optimizer_bytes == 4 * 2_359_296 + 4 * 3 * 2 * 32


def test_adamws_state_is_what_is_planned(small_base, plan):
    from peft import get_peft_model

    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], use_dora=True)
    made = plan(config=AutoConfig.from_pretrained(small_base), adapter=adapter, optim="adamw_torch")
    model = get_peft_model(load_model(small_base, quantization="none"), adapter)
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.AdamW(trained)
    optimizer.step()
    found = sum(t.nbytes for state in optimizer.state.values() for t in state.values())
    assert found == made.optimizer_bytes


def test_deepspeed_shares_out_what_its_stage_says(plan):
    def made(stage: int) -> Plan:
        found = plan(plan={"processes": 4}, optim="adamw_torch")
        found.training.deepspeed = {"zero_optimization": {"stage": stage}}
        return found

    numbers = 2_359_296
    whole = made(0).weights.bytes
    assert [made(stage).optimizer_bytes for stage in range(4)] == [
        12 * numbers,
        3 * numbers,
        3 * numbers,
        3 * numbers,
    ]
    assert [made(stage).gradient_bytes for stage in (1, 2, 3)] == [
        2 * numbers,
        numbers // 2,
        numbers // 2,
    ]
    assert [made(stage).weight_bytes for stage in (2, 3)] == [whole, whole // 4]
    assert made(3).gathered() > 0 == made(2).gathered()


def test_70b_is_shared_out_over_cards_that_could_not_hold_it(plan):
    def made(stage: int) -> Plan:
        found = plan(
            config=llama_31("70b"),
            plan={"processes": 4},
            per_device_train_batch_size=1,
            activation_checkpointing=True,
        )
        found.training.deepspeed = {"zero_optimization": {"stage": stage}}
        return found

    assert not made(2).fits(card("RTX 4090"))
    assert made(3).fits(card("RTX 4090"))


def test_zero_one_adams_state_is_what_is_planned():
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from fin_qlora.training.optimizers.zero_one_adam import ZeroOneAdam

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    try:
        weights = [torch.nn.Parameter(torch.ones(n)) for n in (4096, 37, 16384)]
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimizer = ZeroOneAdam(weights)
        optimizer.step()
        matrices = [v for v in vars(optimizer).values() if isinstance(v, torch.Tensor)]
        errors = [v for v in vars(optimizer._one_bit).values() if isinstance(v, torch.Tensor)]
        floats = [t for t in (*matrices, *errors) if t.ndim]
        found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in floats}
    finally:
        dist.destroy_process_group()
    assert sum(found.values()) == zero_one_bytes([4096, 37, 16384], processes=4)


def test_an_optimizer_that_nobody_has_counted_is_named(plan):
    with pytest.raises(UsageError, match="adafactor"):
        plan(optim="adafactor").optimizer_bytes  # noqa: B018


def test_the_largest_micro_batch_divides_the_batch_of_a_process(plan):
    made = plan(
        per_device_train_batch_size=1,
        gradient_accumulation_steps=48,
        max_tokens_per_pass=None,
        found=Lengths.stated(500, 500, 500, rows=10, answer=3, source=""),
    )
    small = card("L4")
    rows = made.largest_micro_batch(small)
    assert rows is not None
    assert 48 % rows == 0
    assert made.fits(small, rows=rows)
    above = next(n for n in range(rows + 1, 49) if 48 % n == 0)
    assert not made.fits(small, rows=above)


def test_nothing_fits_where_the_weights_do_not(plan):
    made = plan(config=llama_31("70b"), plan={"quantization": "none"})
    assert made.largest_micro_batch(card("A100")) is None


def test_steps_and_tokens(plan):
    made = plan(
        plan={"processes": 4},
        per_device_train_batch_size=4,
        global_batch_size=64,
        num_train_epochs=4,
    )
    assert (made.batch.accumulation, made.batch.steps) == (4, 64)
    assert made.tokens == 4 * 1000 * 60


def test_time_halves_with_twice_the_cards(plan):
    one, two = plan(), plan(plan={"processes": 2})
    assert two.seconds(card("H100")) == pytest.approx(one.seconds(card("H100")) / 2)
    assert one.seconds(card("A10")) > one.seconds(card("H100"))


def test_arithmetic_is_what_a_counter_finds(small_base):
    from peft import get_peft_model
    from torch.utils.flop_counter import FlopCounterMode

    from fin_qlora.models.architecture import skeleton
    from fin_qlora.models.flops import Arithmetic

    config = AutoConfig.from_pretrained(small_base)
    adapter = LoraConfig(r=4, lora_dropout=0.0, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(
        load_model(small_base, quantization="none", attn_implementation="eager"), adapter
    )
    rows, length, kept = 3, 50, 7
    ids = torch.ones(rows, length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        logits = model(input_ids=ids, logits_to_keep=torch.arange(kept)).logits
        forward = counter.get_total_flops()
        logits.sum().backward()
    numbers = sum(p.numel() for p in model.parameters() if p.requires_grad)
    found = Arithmetic.of(skeleton(config), adapter_parameters=numbers)
    # eager attention computes every pair, also those that are masked
    pairs = rows * length * length
    counted = found.training(tokens=rows * length, pairs=pairs, predictions=rows * kept)
    assert (
        rows * length * (found.layers + found.adapter)
        + pairs * found.attention
        + rows * kept * found.head
    ) == forward
    # the first layer's gradients go no further down
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.25)
    assert counted >= counter.get_total_flops()


def test_lengths_are_those_of_real_rows():
    found = Lengths.of([5, 1, 3, 2, 4], answers=11, source="here")
    assert found.percentiles() == {"p50": 3, "p95": 5, "max": 5}
    assert (found.tokens, found.pairs, found.answer) == (15, 35, 3)


def test_lengths_that_fall_are_refused():
    with pytest.raises(UsageError, match="do not rise"):
        Lengths.stated(90, 60, 300, rows=None, answer=3, source="")


@pytest.mark.parametrize(
    ("name", "mib"),
    [
        ("rtx a6000", 49140),
        ("NVIDIA A100", 81920),
        ("a100-40gb", 40960),
        ("GeForce RTX 4090", 24564),
    ],
)
def test_a_card_by_what_people_call_it(name, mib):
    assert card(name).memory_mib == mib


def test_an_unknown_card_is_named():
    with pytest.raises(UnknownNameError, match="RTX-A6000"):
        card("RTX-A6001")


def test_no_card_has_more_than_its_memory():
    assert all(0 < one.usable < one.memory_mib * 2**20 for one in CARDS)
