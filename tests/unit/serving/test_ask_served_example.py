"""The client of docs/serving.md, against a server that reads prompts as vLLM's API does."""

import json
import runpy
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch

from fin_qlora import tasks
from fin_qlora.evidence import write_record
from fin_qlora.inference.scoring import score_labels
from fin_qlora.models.base import load_model, load_tokenizer
from fin_qlora.models.tiny import tiny_base_path

DOCS = Path(__file__).resolve().parents[3] / "docs"
PROGRAM = DOCS / "examples" / "ask_served.py"
TASK = tasks.get("synthetic_ner")


@pytest.fixture(scope="module")
def model():
    return load_model(tiny_base_path(), quantization="none").float().eval()


@pytest.fixture
def server(model):
    """Answers /v1/completions with echo and no new token; `asked` has the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.asked.append((self.path, asked))
            choices = []
            for index, ids in enumerate(asked["prompt"]):
                with torch.no_grad():
                    logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
                read = [float(logits[at, token]) for at, token in enumerate(ids[1:])]
                choices.insert(0, {"index": index, "logprobs": {"token_logprobs": [None, *read]}})
            body = json.dumps({"choices": choices}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path):
    folder = shutil.copytree(tiny_base_path(), tmp_path / "adapter")
    contract = TASK.contract()
    task = {
        "task": TASK.name,
        "contract": contract.to_dict(),
        "contract_digest": contract.digest,
        "canaries": [],
    }
    base = {"id": "desk/base", "revision": None, "digest": "ab" * 32}
    write_record(folder, {"schema": 1, "tasks": [task], "base": base, "quantization": "4bit"})
    return folder


def test_served_scores_are_those_of_score_labels(server, folder, model):
    program = runpy.run_path(str(PROGRAM))
    url = f"http://127.0.0.1:{server.server_port}/"
    served = program["ServedAdapter"](url, "desk/ner@main", folder)
    row = {"text": "This Agreement is made by Ada Lovelace of Acme Ltd.", "entity": "Acme Ltd"}
    scores = served.scores(row)
    (expected,) = score_labels(model, load_tokenizer(folder), TASK.contract(), [row])
    assert scores == pytest.approx(expected, abs=1e-4)
    ((path, asked),) = server.asked
    assert path == "/v1/completions"
    assert asked["model"] == "desk/ner@main"
    assert (asked["echo"], asked["max_tokens"]) == (True, 0)


def test_the_page_shows_the_whole_program():
    assert f"```python\n{PROGRAM.read_text('utf-8')}```" in (DOCS / "serving.md").read_text("utf-8")
