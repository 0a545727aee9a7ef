"""-export: a checkpoint as ONNX files that run without PyTorch, with all that using them needs inside."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from seld_predictor import named_classes
from system import export, exported
from system.checkpoint import Checkpoint, load_checkpoint, model_of, thresholds_of
from system.model import Model, StageModel
from util.errors import InputError
from util.files import sha256_of, written_whole
from util.job_arguments import Arguments
from util.microphone_arrays import array_of_flag
from util.runs import code_version, result_checkpoint


def export_checkpoint(given: dict[str, Any], command: str) -> int:
    """Export the checkpoint of -export, one file a stage that is trained; the exit status."""
    export.check_packages()
    args = Arguments.of(given)
    checkpoint = Path(str(args.export))
    checkpoint = result_checkpoint(checkpoint) if checkpoint.is_dir() else checkpoint
    out = Path(args.out or f"{checkpoint.stem}{exported.SUFFIX}")
    if out.suffix != exported.SUFFIX:
        raise InputError(f"--out {out}: the name of an onnx file must end with {exported.SUFFIX}")
    content = load_checkpoint(checkpoint, array=array_of_flag(args.format))
    if content.graphs:
        raise InputError(exported.REFUSED, path=checkpoint)
    try:
        model = named_classes(model_of(content)).eval()
    except InputError as error:
        raise InputError(error.rule, path=checkpoint) from None
    if any(stage.lacks_statistics for stage in model.stages.values()):
        rule = "are weights without the statistics of their features: train on from them (--init), and export that"
        raise InputError(rule, path=checkpoint)
    content.classes = list(model.classes)
    content.thresholds = thresholds_of(content, args.threshold_config, model).to_dict()
    stages = [name for name, stage in model.stages.items() if stage.stage.network is not None]
    if not stages:
        rule = f"{model.system.name} has no network: there is nothing to export, its features are computed as they are"
        raise InputError(rule, path=checkpoint)
    files = {name: exported.file_of_stage(out, name, stages) for name in stages}
    made = {
        "checkpoint": checkpoint.name,
        "sha256": sha256_of(checkpoint),
        "command": command,
        "code": code_version(),
        "versions": export.versions(),
    }
    print(f"exporting {model.system.title}; some 10 s a stage", flush=True)
    for name, file in files.items():
        channels = export.channels_of(model, name)
        metadata = _metadata(content, model, name, channels, {one: path.name for one, path in files.items()}, made)
        whole = _is_whole(model.stages[name], args.graph)
        metadata["graph"] = "whole" if whole else "network"
        graph = _graph(model, model.stages[name], channels, whole, checkpoint)
        with written_whole(file) as temporary:
            temporary.write_bytes(export.with_metadata(graph, metadata))
        holds = "samples in" if whole else "features in, made outside (docs/export.md has them in numpy)"
        print(f"  {file}: {os.path.getsize(file) / 1e6:.1f} MB, {holds}; the same raw output as PyTorch's on noise")
    print(f"\nnext:\n  python seld.py -infer RECORDING.wav -em {next(iter(files.values()))}")
    return 0


def _is_whole(stage: StageModel, asked: str) -> bool:
    """Whether a graph computes the features, too; those of a stage that takes what others say are no work."""
    if stage.stage.takes or asked == "whole":
        return True
    # what hangs on a last bit is computed as in training: a graph's own would give another output
    return asked == "auto" and not stage.front.audio.jumps


def _graph(model: Model, stage: StageModel, channels: int, whole: bool, checkpoint: Path) -> bytes:
    try:
        return export.export_stage(stage, channels, model.producer if stage.visual else None, whole=whole)
    except InputError:
        raise
    except Exception as error:  # the exporter and onnxruntime have no common class of errors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        rule = f"its stage {stage.stage.name} of {model.system.name} cannot be exported ({reason})"
        raise InputError(rule, path=checkpoint) from error


def _metadata(
    content: Checkpoint, model: Model, stage: str, channels: int, files: dict[str, str], made: dict[str, Any]
) -> dict[str, Any]:
    """What a file says of itself: everything that a prediction needs, and what people want to know."""
    own = model.stages[stage]
    plan = own.plans.evaluation(np.array([own.rate_hz]))
    return {
        "format": exported.FORMAT,
        "system": content.system,
        "title": model.system.title,
        "stage": stage,
        "files": files,
        "takes": list(own.stage.takes),
        "stages": {
            name: {"settings": state.settings, "iteration": state.iteration} for name, state in content.stages.items()
        },
        "array": content.array,
        "classes": content.classes,
        "visual": content.visual,
        "window_plan": {
            **dataclasses.asdict(own.plans.framing),
            "plan": type(plan).__name__,
            "channels": channels,
            "frames": plan.frames,
            "samples": None if plan.frames is None else own.plans.framing.samples_of(plan.frames),
            "hop_frames": getattr(plan, "hop", plan.frames),
            "lead_frames": getattr(plan, "lead", 0),
        },
        "output_format": {**own.output_format.description(), "frame_s": own.output_format.frame_s},
        "thresholds": content.thresholds,
        "arguments": content.arguments,
        "recordings": content.recordings,
        "level_dbfs": content.level_dbfs,
        "made": made,
    }
