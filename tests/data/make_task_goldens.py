"""Makes task_goldens.json: two records a task, and what lm-evaluation-harness asks and expects for them.

    pip install lm_eval==0.4.13 && python3 tests/data/make_task_goldens.py > tests/data/task_goldens.json
"""
import json
import os
import pathlib
import tempfile

import lm_eval
from lm_eval.tasks import TaskManager

RECORDS = {
    "piqa": [
        {"goal": "dry a shirt", "sol1": "hang it up", "sol2": "löse it ", "label": 0},
        {"goal": "warm, \"quickly\", soup", "sol1": "use a stove", "sol2": "use  ice", "label": 1},
    ],
    "winogrande": [
        {"sentence": "Ann thanked Bea because _ had helped. ", "option1": "Ann", "option2": "Bea", "answer": "2"},
        {"sentence": "The lid did not fit the pot as the _ was too wide", "option1": "lid", "option2": "pot", "answer": "1"},
    ],
    "hellaswag": [
        {"ind": 4, "activity_label": "Tea", "ctx_a": "A [header] How to brew [title] Boil.", "ctx_b": "the POT élan",
         "endings": ["is  hot.", " [step] is cold.", "sings", "[substeps] x ["], "label": "0", "source_id": "a~b"},
        {"ind": 5, "activity_label": "Rowing", "ctx_a": "Two row.", "ctx_b": "",
         "endings": ["they win", "they rest", "they sink", "they sing"], "label": "3", "source_id": "c"},
    ],
    "arc_easy": [
        {"id": "a", "question": "What melts?", "choices": {"text": ["ice", "rock", "air"], "label": ["A", "B", "C"]}, "answerKey": "A"},
        {"id": "b", "question": "What flies?", "choices": {"text": ["a stone", "a bird"], "label": ["1", "2"]}, "answerKey": "2"},
    ],
    "arc_challenge": [
        {"id": "c", "question": "Why is the sky blue?", "choices": {"text": ["paint", "scattering"], "label": ["A", "B"]}, "answerKey": "B"},
        {"id": "d", "question": "Two\nlines?", "choices": {"text": ["yes", "no"], "label": ["A", "B"]}, "answerKey": "A"},
    ],
    "lambada_openai": [
        {"text": "she sat down and ate her soup"},
        {"text": "it was \u201clate\u201d , he said , and\nwent  home"},
    ],
    "boolq": [
        {"question": "is ice cold", "passage": "Ice is cold.", "idx": 0, "label": 1},
        {"question": "do stones fly", "passage": "Stones fall.\nThey do.", "idx": 1, "label": 0},
    ],
    "openbookqa": [
        {"id": "e", "question_stem": "Ice is", "choices": {"text": ["cold", "hot"], "label": ["A", "B"]}, "answerKey": "B"},
        {"id": "f", "question_stem": "A plant needs ", "choices": {"text": ["light", "sound"], "label": ["A", "B"]}, "answerKey": " A"},
    ],
    "copa": [
        {"premise": "The man fell. ", "choice1": "He slipped.", "choice2": "It rained.", "question": "cause", "idx": 0, "label": 0},
        {"premise": "The sun rose.", "choice1": "Über-heat came.", "choice2": "IT was warm.", "question": "effect", "idx": 1, "label": 1},
    ],
}
DEFINITIONS = {
    "winogrande": "winogrande/default.yaml", "hellaswag": "hellaswag/hellaswag.yaml", "piqa": "piqa/piqa.yaml",
    "arc_easy": "arc/arc_easy.yaml", "arc_challenge": "arc/arc_easy.yaml", "lambada_openai": "lambada/lambada_openai.yaml",
    "boolq": "super_glue/boolq/default.yaml", "openbookqa": "openbookqa/openbookqa.yaml", "copa": "super_glue/copa/default.yaml",
}


LEFT_OUT = ("dataset_", "training_split", "validation_split", "test_split", "task:", "tag:", "  - multiple_choice", "  - ai2_arc",
            "  - super-glue", "  - lambada")


def write_definition(name, folder):
    """The harness's own definition of a task, over the records above."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in RECORDS[name]))
    source = pathlib.Path(lm_eval.__file__).parent / "tasks" / DEFINITIONS[name]
    for helper in source.parent.glob("*.py"):
        (folder / helper.name).write_text(helper.read_text())
    lines = [line for line in source.read_text().splitlines() if not line.startswith(LEFT_OUT)]
    lines += [f"task: local_{name}", "dataset_path: json", "test_split: train", "dataset_kwargs:", f"  data_files: {data}"]
    (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")


def goldens(name, folder):
    write_definition(name, folder)
    loaded = TaskManager(include_path=str(folder), include_defaults=False).load(f"local_{name}")
    task = loaded["tasks"][f"local_{name}"]
    task.build_all_requests(rank=0, world_size=1)
    questions = []
    for number, record in enumerate(RECORDS[name]):
        instances = sorted((i for i in task.instances if i.doc_id == number), key=lambda i: i.idx)
        scores = [(-float(len(i.args[1].encode())) * (1 + 0.1 * i.idx), False) for i in instances]
        metrics = task.process_results(instances[0].doc, scores)
        questions.append({"record": record, "pairs": [list(i.args) for i in instances], "scores": [score for score, _ in scores],
                          "target": str(task.doc_to_target(instances[0].doc)),
                          "metrics": {key: float(value) for key, value in metrics.items()}})
    return {"version": str(task.VERSION), "questions": questions}


if __name__ == "__main__":
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    result = {}
    for task_name in RECORDS:
        with tempfile.TemporaryDirectory() as made:
            result[task_name] = goldens(task_name, pathlib.Path(made))
    print(json.dumps(result, indent=1, ensure_ascii=False))
