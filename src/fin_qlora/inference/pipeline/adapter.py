"""A trained LoRA on stages: each takes its own layers' tensors, together they take them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import AdapterMismatchError
from ...models.stage import Elsewhere
from ...models.stored_lora import check_fits, read_config, stored_tensors
from .launch import Launch

_NAME = "default"


def attach_to_stage(model: Any, folder: Path, *, launch: Launch) -> Any:
    """Put an adapter's layers of this stage on it; every process must call.

    Returns the PEFT model, or the part as it is where the adapter has nothing in it.

    Raises, on every process alike:
        AdapterMismatchError: the stages together want other tensors than the file has.
        MissingFileError, NotFiniteError: the file cannot be read, or holds no numbers.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    def made() -> tuple[Any, dict[str, Any]]:
        read_config(folder)
        return _with_layers(model, folder), stored_tensors(folder)

    peft, stored = launch.together(made)
    expected: dict[str, Any] = {}
    if peft is not None:
        expected = get_peft_model_state_dict(peft, adapter_name=_NAME, save_embedding_layers=False)
    shapes = {name: _Shape(tuple(tensor.shape)) for name, tensor in expected.items()}
    everyone = {name: shape for part in launch.gathered(shapes) for name, shape in part.items()}
    check_fits(stored, everyone)
    if peft is None:
        return model
    own = {name: stored[name] for name in expected}
    set_peft_model_state_dict(peft, own, adapter_name=_NAME)
    return peft.eval()


class _Shape:
    """Stands for a tensor of another stage."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def _with_layers(model: Any, folder: Path) -> Any:
    """Return the PEFT model, without the trained numbers yet, or None where nothing is adapted."""
    from peft import LoraConfig, PeftModelForCausalLM

    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = True
    absent = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, Elsewhere) and not name.rpartition(".")[2].isdigit()
    }
    if isinstance(config.target_modules, set):  # PEFT refuses places that hold no weight
        config.target_modules -= absent
        if not config.target_modules:
            return None
    try:
        return PeftModelForCausalLM(model, config, _NAME)
    except ValueError as error:
        if "not found in the base model" in str(error):
            return None  # the adapter leaves these layers alone; the tensors of all are checked
        raise AdapterMismatchError(
            f"The adapter does not fit this base: {error}.",
            fix="Load it on the base that its adapter_config.json names.",
        ) from error
