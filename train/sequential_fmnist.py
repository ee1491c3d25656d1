"""``python -m train.sequential_fmnist --model plain|ss|fb``: an image column by column; ``--compare`` draws all."""

from __future__ import annotations

import copy
import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from dvsprep.errors import UsageError
from train import distributed, logs, models, plots, script, setup
from train.arguments import Parser
from train.images import ImagesTrainer
from train.logs import say
from train.trainer import Row

MODELS: dict[str, type[models.PlainNet]] = {
    "plain": models.PlainNet,
    "ss": models.StatefulSynapseNet,
    "fb": models.FeedBackNet,
}

TITLES = {"plain": "plain", "ss": "stateful synapse", "fb": "feedback"}


class SequentialTrainer(ImagesTrainer):
    """Train a small network that sees an image of Fashion-MNIST column by column, a column a step."""

    name = "sequential_fmnist"

    def get_args_parser(self, add_help: bool = True) -> Parser:
        """Return the parser."""
        parser = super().get_args_parser(add_help)
        add = parser.add_argument_group("network").add_argument
        add("--model", "-model", choices=MODELS, default="plain", help="plain, stateful synapse, or feedback")
        add("--compare", action="store_true", help="train all three; draw their curves in one figure, and a table")
        parser.set_defaults(batch_size=128, epochs=64, opt="adam", lr=0.005, amp=False)
        return parser

    def get_tb_logdir_name(self, args: Namespace) -> str:
        """Return the field's name: network, batch, optimiser, rate, precision, engine."""
        model = "compare" if args.compare else args.model
        name = f"{model}_b{args.batch_size}_{args.opt}_lr{args.lr:g}"
        return name + ("_amp" if args.amp else "") + ("_cupy" if args.backend == "cupy" else "")

    def load_model(self, args: Namespace, num_classes: int) -> nn.Module:
        """Return the network."""
        rows = args.facts["images"][2]
        return MODELS[args.model](inputs=rows, classes=num_classes)

    def encode(self, args: Namespace, x: Tensor) -> Tensor:  # noqa: ARG002
        """Return grey values from 0 to 1 of the columns, [W, N, H]."""
        return (x[:, 0].float() / 255).permute(2, 0, 1).contiguous()

    def main(self, args: Namespace) -> Row:
        """Run; with ``--compare`` once a network."""
        return self.compare(args) if args.compare else super().main(args)

    def compare(self, args: Namespace) -> Row:
        """Train each network with the same flags; draw and tabulate the three in a folder of their own."""
        if args.resume is not None:
            raise UsageError("--compare trains all three anew", hint="--resume goes on with the run of one")
        if "test_every" not in args.explicit:
            args.test_every = 1
        if args.clean:
            self.load_data(copy.deepcopy(args))  # what --clean deletes is still there if there is nothing to train on
        folder = setup.new_folder(args, self.get_tb_logdir_name(args))
        if distributed.rank() == 0:
            logs.write_circumstances(folder / "run.json", setup.flags(args))
        results: dict[str, Row] = {}
        for model in MODELS:
            own = copy.deepcopy(args)
            own.model, own.out_dir, own.compare, own.clean = model, folder, False, False
            results[model] = super().main(own)
        result: Row = {
            "test_acc": {model: r["test_acc"] for model, r in results.items()},
            "seconds": round(sum(r["seconds"] for r in results.values()), 1),
            "out_dir": str(folder),
            "models": results,
        }
        if distributed.rank() == 0:
            conclude(result, folder)
        return result


def conclude(result: Row, folder: Path) -> None:
    """Draw and tabulate what three runs came to."""
    histories = {}
    for model, r in result["models"].items():
        log = Path(r["out_dir"], "log.jsonl").read_text()
        histories[TITLES[model]] = [json.loads(line) for line in log.splitlines()]
    plots.comparison(histories, folder / "curves.png")
    table = "\n".join(tabulated(result["models"]))
    (folder / "table.md").write_text(table + "\n")
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    say(table)


def tabulated(results: Mapping[str, Row]) -> list[str]:
    """Return the results as a table of Markdown, a line a network."""
    lines = ["| network | test accuracy | best epoch | seconds an epoch |", "|---|---|---|---|"]
    for model, r in results.items():
        cells = [TITLES[model], f"{r['test_acc']:.4f}", f"{r['best_epoch']} of {r['epochs']}"]
        lines.append(f"| {' | '.join(cells)} | {r['seconds'] / r['epochs']:.2f} |")
    return lines


if __name__ == "__main__":
    script.run(SequentialTrainer())
