"""One cell of a comparison as a plain script does it: load, train with SFTTrainer where that is asked, ask lm-eval.

    python cell.py SPEC.json     prints {"value": mean score}

SPEC: model and embedder (folders), method, rank (null: nothing is trained), context (zero_shot | few_shot | rag), train
and test rows ({"prompt", "answer", "choices"}), demonstrations (of train), corpus (texts), k, most, end, settings
of the training, batch_size of lm-eval.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer

Row = dict[str, Any]


def main(spec: dict[str, Any]) -> float:
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32)
    find = passages(spec) if spec["context"] == "rag" else None

    def prompt(row: Row, trains: bool = False) -> str:
        asked = row["prompt"]
        if find is not None and (not trains or spec["method"] == "rag_lora"):
            asked = "Use these passages.\n\n" + "\n\n".join(find(row["prompt"])) + "\n\n" + asked
        turns = [{"role": "user", "content": asked}]
        if spec["context"] == "few_shot":
            for shown in reversed(spec["demonstrations"]):
                turns = [
                    {"role": "user", "content": shown["prompt"]},
                    {"role": "assistant", "content": shown["answer"]},
                    *turns,
                ]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    if spec["rank"]:
        model = train(spec, model, tokenizer, [(prompt(row, trains=True), row["answer"]) for row in spec["train"]])
    lm = HFLM(pretrained=model.eval(), tokenizer=tokenizer, device="cpu", batch_size=spec["batch_size"])
    asked = [(prompt(row), row) for row in spec["test"]]
    return sum(scores(spec, lm, asked)) / len(asked)


def passages(spec: dict[str, Any]) -> Callable[[str], list[str]]:
    import faiss
    from sentence_transformers import SentenceTransformer

    embedder = SentenceTransformer(spec["embedder"], device="cpu")
    vectors = embedder.encode(spec["corpus"], normalize_embeddings=True)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)

    def find(question: str) -> list[str]:
        _, found = index.search(embedder.encode([question], normalize_embeddings=True), spec["k"])
        return [spec["corpus"][i] for i in found[0]]

    return find


def train(spec: dict[str, Any], model: Any, tokenizer: Any, pairs: list[tuple[str, str]]) -> Any:
    settings = spec["settings"]
    lora = {"r": spec["rank"], "lora_alpha": 2 * spec["rank"], "target_modules": "all-linear"}
    with tempfile.TemporaryDirectory() as output:
        arguments = SFTConfig(
            output_dir=output,
            num_train_epochs=settings["epochs"],
            learning_rate=settings["learning_rate"],
            per_device_train_batch_size=settings["batch_size"],
            lr_scheduler_type="cosine",
            warmup_steps=settings["warmup"],
            max_length=None,
            gradient_checkpointing=False,
            bf16=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=0,
        )
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": asked, "completion": said} for asked, said in pairs]),
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", **lora),
        )
        trainer.train()
    trainer.model.config.use_cache = True
    return trainer.model


def scores(spec: dict[str, Any], lm: HFLM, asked: list[tuple[str, Row]]) -> list[float]:
    if asked[0][1]["choices"]:
        pairs = [(prompt, choice + spec["end"]) for prompt, row in asked for choice in row["choices"]]
        found = lm.loglikelihood([Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)], True)
        likely = iter(float(score) for score, _ in found)
        chosen = [max((next(likely), choice) for choice in row["choices"])[1] for _, row in asked]
        return [float(said == row["answer"]) for said, (_, row) in zip(chosen, asked, strict=True)]
    how = {"until": [spec["end"]], "max_gen_toks": spec["most"], "do_sample": False, "temperature": 0.0}
    requests = [Instance("generate_until", {}, (prompt, how), i) for i, (prompt, _) in enumerate(asked)]
    said = lm.generate_until(requests, True)
    return [f1(answer, row["answer"]) for answer, (_, row) in zip(said, asked, strict=True)]


def f1(said: str, gold: str) -> float:
    """Of words in lower case; the harness's own normalises further, so the two come close but need not be equal."""
    one, other = said.lower().split(), gold.lower().split()
    common = sum(min(one.count(word), other.count(word)) for word in set(one))
    return 2 * common / (len(one) + len(other)) if common else 0.0


out = sys.stdout
sys.stdout = sys.stderr
print(json.dumps({"value": main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))}), file=out)
