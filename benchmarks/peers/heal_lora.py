"""heal_lora.py SLICED_DIR OUT_DIR --calibration TEXT --name NAME: trains a sliced model with LoRA, and merges it back.

By the recipe published with SliceGPT (TransformerCompression: README.md, experiments/run_finetuning.py). The last
eighth of the windows chooses when to stop, and which of the weights on the way are kept.
"""
import argparse
import pathlib
import shutil
import tempfile

import peft
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, EarlyStoppingCallback, Trainer, TrainingArguments

import cost
import windows

LORA = {"r": 32, "lora_alpha": 10, "lora_dropout": 0.05, "task_type": "CAUSAL_LM",
        "target_modules": r".*\.layers\..*\.(\w+_proj|dense|fc1|fc2)"}
RECIPE = {"per_device_train_batch_size": 3, "warmup_steps": 400, "lr_scheduler_type": "linear", "learning_rate": 2e-4,
          "weight_decay": 0.01, "adam_beta2": 0.95, "eval_strategy": "steps", "eval_steps": 16, "save_steps": 16,
          "save_total_limit": 1, "load_best_model_at_end": True, "prediction_loss_only": True, "report_to": "none"}


def save(model: torch.nn.Module, source: pathlib.Path, folder: pathlib.Path) -> None:
    """`source`, its code too, with the weights of `model` by the same names in the same types; without its report."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model*.safetensors", "slice_report.*"))
    weights = model.state_dict()
    for path in source.glob("model*.safetensors"):
        with safe_open(path, "pt") as old:
            new = {name: weights[name].to("cpu", old.get_tensor(name).dtype) for name in old.keys()}
            save_file(new, folder / path.name, old.metadata())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path, help="must not exist")
    parser.add_argument("--name", required=True, help="of the row: what was sliced, and that it was trained")
    parser.add_argument("--steps", type=int, default=2667, help="at most")
    windows.add_arguments(parser)
    parser.set_defaults(samples=320, context=1024)
    given, cuda = parser.parse_args(), torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32, trust_remote_code=True)
    tokens = windows.calibration(AutoTokenizer.from_pretrained(given.model, trust_remote_code=True), given.calibration,
                                 given.samples, given.context)  # (N, T)
    making, rows = cost.Making("cuda" if cuda else "cpu"), [{"input_ids": row, "labels": row} for row in tokens]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(peft.get_peft_model(model, peft.LoraConfig(**LORA)),
                          TrainingArguments(folder, **RECIPE, max_steps=given.steps, bf16=cuda),
                          train_dataset=rows[:-(len(rows) // 8)], eval_dataset=rows[-(len(rows) // 8):],
                          callbacks=[EarlyStoppingCallback(early_stopping_patience=5)])
        before = trainer.evaluate()["eval_loss"]
        trainer.train()
    merged, measured = trainer.model.merge_and_unload(), making.measured()
    save(merged, given.model, given.out)
    cost.write(given.out, given.name, measured, cost.bytes_of(merged, cost.plain(merged)),
               f"trained with LoRA: {before:.4f} to {trainer.state.best_metric:.4f} nats a token on held-out windows")
