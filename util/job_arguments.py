"""The resolved arguments of a job: a value for every flag, and what follows from task ids and the data root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any


@dataclass
class Arguments:
    """A field for each row of `util.flags.FLAGS` (a test compares), and what a run knows besides.

    Attributes
    ----------
    job_id, task_id : the positional numbers of systems that have presets, see `system.presets`
    task_settings : settings that the task changes
    clip_s : length that the data root's recordings are cut or filled up to; None: they stay as they are
    label_frame_s : length of the frames of the events that are scored; None: that of the output format
    """

    ids: list[str] = field(default_factory=list)
    train: bool = False
    val: bool = False
    eval: bool = False
    infer: list[str] = field(default_factory=list)
    tune: bool = False
    export: str | None = None
    submit: bool = False
    check_submission: str | None = None
    data_root: list[str] = field(default_factory=lambda: ["data_dcase2023_task3"])
    format: str | None = None
    ov: int | None = None
    split: str | None = None
    mix: str | None = None
    share: float = 1.0
    train_wav_txt: str | None = None
    val_wav_txt: str | None = None
    eval_wav_txt: str | None = None
    class_num: int | None = None
    sampling_frequency: int = 24000
    net: str = "crnn"
    stage: str | None = None
    sed: str | None = None
    doa: str | None = None
    set: list[str] = field(default_factory=list)
    statistics: str = "train"
    no_video: bool = False
    feature: str | None = None
    fft_size: int = 512
    stft_hop_size: int = 240
    train_wav_length: float = 1.27
    eval_wav_hop_length: float = 1.2
    feature_config: str = "feature/feature.json"
    threshold_config: str | None = None
    graph: str = "auto"
    detector: str = "yolox_tiny"
    cache: str | None = None
    box_rate: str = "10"
    boxes: str = "own"
    monitor_path: str | None = None
    random_seed: int = 0
    batch_size: int = 16
    learning_rate: float = 0.001
    weight_decay: float = 1e-06
    schedule: str = "constant"
    augment: str = "none"
    max_iter: int = 10000
    model_save_interval: int = 1000
    epochs: int | None = None
    passes_per_epoch: int = 1
    patience: int | None = None
    select: str = "last"
    init: str | None = None
    resume: str | None = None
    stages: str | None = None
    storage: str | None = None
    eval_model: str | None = None
    edition: str | None = None
    average: str = "macro"
    activity: str = "own"
    out: str | None = None
    label: str = "Lastname_Institute_task3_1"
    channel_order: str | None = None
    norm: str | None = None
    channels_used: tuple[Any, ...] | None = None
    a_format: tuple[Any, ...] | None = None
    gain_db: float | str | None = None
    person_class: int | None = None
    detector_size: tuple[Any, ...] | None = None
    video_yaw_deg: float = 0.0
    video_offset_s: float = 0.0
    player: str = "auto"
    overlay: str | None = None
    directions: bool = False
    sources: int | None = None
    array: str | None = None
    stream: bool = False
    latency_s: float | None = None
    views: int = 1
    overlap: int = 1
    stream_format: str | None = None
    channels: int | None = None
    rate: int | None = None
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    sync_batchnorm: bool = False
    precision: str = "auto"
    workers: int = 1
    processes: int = 1
    cluster: str | None = None
    job_id: str | None = None
    task_id: str | None = None
    task_settings: dict[str, Any] = field(default_factory=dict)
    clip_s: float | None = None
    label_frame_s: float | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Arguments:
        """Arguments of the values that are known; the others have their defaults."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @property
    def scored_by(self) -> str:
        """The edition of the metrics: of the flag, else of the data root; known once the data root is open."""
        if self.edition is None:
            raise ValueError("no data root has said which edition its data are scored by")
        return self.edition

    def changed(self, **values: Any) -> Arguments:
        """The same with some values exchanged."""
        return replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and json."""
        return asdict(self)
